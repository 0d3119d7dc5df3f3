"""Files are opened in the folder and nowhere else; only the Hub's cache may link to its blobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchgraft.errors import CheckpointError, UnsafeCheckpointError
from torchgraft.storage.local_folder import LocalFolder

SHA1, SHA256 = "0a" * 20, "b1" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files in it, beside a secret."""
    (tmp_path / "secret").write_bytes(b"secret")
    inside = tmp_path / "here"
    (inside / "sub").mkdir(parents=True)
    (inside / "x").write_bytes(b"x")
    (inside / "sub" / "y").write_bytes(b"yy")
    return inside


def test_what_is_in_it(folder: Path) -> None:
    (folder / "out").symlink_to(folder.parent)
    listed = LocalFolder(folder)
    assert (listed.files, listed.folders) == (("x",), ("sub",))
    assert (listed.size("x"), listed.size("sub/y"), listed.size("no")) == (1, 2, None)
    assert bytes(listed.open("sub/y").view(0, 2)) == b"yy"
    assert listed.inner("sub").files == ("y",)
    assert (listed.path, listed.name) == (folder, str(folder))


@pytest.mark.parametrize(
    "name",
    ["../secret", "sub/../../secret", "..", "sub/..", "", "/etc/hostname", "\\secret", "..\\secret",
     "sub\\..\\x", "C:secret", "c:\\secret", "x\0"],
)  # fmt: skip
def test_no_path_leads_out(name: str, folder: Path) -> None:
    for ask in (LocalFolder(folder).open, LocalFolder(folder).size):
        with pytest.raises(UnsafeCheckpointError, match="leads out") as caught:
            ask(name)
        assert caught.value.where == str(folder)


@pytest.mark.parametrize("name", ["...", "..x", "x..", "a..b/x", "./x"])
def test_dots_in_a_name_are_harmless(name: str, folder: Path) -> None:
    assert LocalFolder(folder).size(name) == (1 if name == "./x" else None)


def test_an_absolute_path_of_its_own_file_is_refused_too(folder: Path) -> None:
    with pytest.raises(UnsafeCheckpointError):
        LocalFolder(folder).open(str(folder / "x"))


@pytest.mark.parametrize("target", ["../secret", "sub/../../secret", "{}/secret"])
def test_links_out_are_refused(target: str, folder: Path) -> None:
    (folder / "link").symlink_to(target.format(folder.parent))
    with pytest.raises(UnsafeCheckpointError, match="link") as caught:
        LocalFolder(folder).open("link")
    assert "secret" in str(caught.value)
    assert "cp -L" in str(caught.value.hint)


def test_a_link_to_a_folder_out_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent)
    with pytest.raises(UnsafeCheckpointError):
        LocalFolder(folder).open("link/secret")


def test_links_that_stay_are_followed(folder: Path) -> None:
    (folder / "link").symlink_to("sub/y")
    assert bytes(LocalFolder(folder).open("link").view(0, 2)) == b"yy"


def test_a_link_to_the_folder_is_the_folder(folder: Path) -> None:
    (folder.parent / "other").symlink_to("here")
    other = LocalFolder(folder.parent / "other")
    assert bytes(other.open("x").view(0, 1)) == b"x"
    assert other.open("x").name == str(folder.parent / "other" / "x")


@pytest.mark.parametrize("kind", ["loop", "dangling", "fifo", "folder", "absent", "long"])
def test_what_is_no_file(kind: str, folder: Path) -> None:
    import os

    if kind == "loop":
        (folder / kind).symlink_to(kind)
    elif kind == "dangling":
        (folder / kind).symlink_to("nowhere")
    elif kind == "fifo":
        os.mkfifo(folder / kind)
    elif kind == "folder":
        (folder / kind).mkdir()
    with pytest.raises(CheckpointError):
        LocalFolder(folder).open("l" * 5000 if kind == "long" else kind)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A revision in the layout of huggingface_hub's cache."""
    repository = tmp_path / "models--org--name"
    revision = repository / "snapshots" / "main"
    (revision / "sub").mkdir(parents=True)
    (repository / "blobs").mkdir()
    for name in (SHA1, SHA256, "readable", SHA1.upper()):
        (repository / "blobs" / name).write_bytes(name.encode())
    return revision


@pytest.mark.parametrize("digest", [SHA1, SHA256])
def test_the_hubs_cache_is_followed(digest: str, snapshot: Path) -> None:
    (snapshot / "x").symlink_to(f"../../blobs/{digest}")
    (snapshot / "sub" / "y").symlink_to(f"../../../blobs/{digest}")
    for folder, name in ((snapshot, "x"), (snapshot, "sub/y"), (snapshot / "sub", "y")):
        assert bytes(LocalFolder(folder).open(name).view(0, len(digest))) == digest.encode()


@pytest.mark.parametrize(
    "blob", ["readable", SHA1.upper(), f"../{SHA1}", f"inner/{SHA1}", SHA1[:-1], f"{SHA1}/x"]
)
def test_only_blobs_with_a_digest_for_a_name(blob: str, snapshot: Path) -> None:
    repository = snapshot.parent.parent
    (repository / "blobs" / "inner").mkdir()
    for place in (repository, repository / "blobs" / "inner"):
        (place / SHA1).write_bytes(b"no")
    (snapshot / "x").symlink_to(f"../../blobs/{blob}")
    with pytest.raises(UnsafeCheckpointError):
        LocalFolder(snapshot).open("x")


def test_a_blob_may_not_be_a_link_elsewhere(snapshot: Path) -> None:
    (snapshot.parents[2] / "secret").write_bytes(b"secret")
    blob = snapshot.parent.parent / "blobs" / ("cc" * 20)
    blob.symlink_to("../../secret")
    (snapshot / "x").symlink_to(f"../../blobs/{blob.name}")
    with pytest.raises(UnsafeCheckpointError, match="secret"):
        LocalFolder(snapshot).open("x")


def test_another_repositorys_blobs_are_not_ours(snapshot: Path) -> None:
    other = snapshot.parents[2] / "models--other" / "blobs"
    other.mkdir(parents=True)
    (other / SHA1).write_bytes(b"theirs")
    (snapshot / "x").symlink_to(other / SHA1)
    with pytest.raises(UnsafeCheckpointError):
        LocalFolder(snapshot).open("x")


def test_blobs_beside_any_other_folder_are_out(folder: Path) -> None:
    blobs = folder.parent.parent / "blobs"
    blobs.mkdir(exist_ok=True)
    (blobs / SHA1).write_bytes(b"no")
    (folder / "link").symlink_to(f"../../blobs/{SHA1}")
    with pytest.raises(UnsafeCheckpointError):
        LocalFolder(folder).open("link")


@pytest.mark.parametrize("name", ["x", "no"])
def test_a_folder_that_is_none(name: str, folder: Path) -> None:
    with pytest.raises(CheckpointError, match="listed"):
        LocalFolder(folder / name)
