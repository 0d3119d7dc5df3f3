"""Files of the hub: which addresses are of it, and that what its library gives is held against its digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

from torchgraft.errors import FetchError
from torchgraft.storage.download import fetch, find_fetched
from torchgraft.storage.hub import HubAddress, hub_file

BODY, OTHER = b"weights" * 100, b"rubbish" * 100
PAGE = "https://huggingface.co/timm/net.a1/resolve/main/model.safetensors"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (PAGE, HubAddress("timm/net.a1", "model.safetensors", None)),
        (PAGE.replace("resolve", "blob"), HubAddress("timm/net.a1", "model.safetensors", None)),
        (f"{PAGE}?download=true", HubAddress("timm/net.a1", "model.safetensors", None)),
        ("https://huggingface.co/gpt2/resolve/v1/a/b%20c.bin", HubAddress("gpt2", "a/b c.bin", "v1")),
        ("hf://timm/net.a1/a/b.bin", HubAddress("timm/net.a1", "a/b.bin", None)),
        ("hf://timm/net.a1@v2/b.bin", HubAddress("timm/net.a1", "b.bin", "v2")),
        ("https://huggingface.co/datasets/a/resolve/main/x.bin", None),
        ("https://huggingface.co/timm/net.a1", None),
        ("https://me:token@huggingface.co/timm/net/resolve/main/x.bin", None),
        ("http://huggingface.co/timm/net/resolve/main/x.bin", None),
        ("https://example.org/timm/net/resolve/main/x.bin", None),
        ("https://[/x", None),
    ],
)
def test_which_addresses_are_of_the_hub(
    url: str, expected: HubAddress | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert HubAddress.of(url) == expected


def test_another_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.invalid")
    assert HubAddress.of("https://mirror.invalid/a/b/resolve/main/c") == HubAddress("a/b", "c", None)
    assert HubAddress.of(PAGE) is None


class Hub:
    """Stands for huggingface_hub: `contents` are sent one after the other, the last one for ever."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.contents = [BODY]
        self.asked: list[dict[str, object]] = []

    def download(self, repository: str, name: str, **extra: object) -> str:
        self.asked.append(extra)
        pointer = self.folder / f"models--{repository.replace('/', '--')}" / "snapshots" / ("1" * 40) / name
        blob = pointer.parents[2] / "blobs" / self.name
        if not blob.exists() or extra.get("force_download"):
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(self.contents.pop(0) if len(self.contents) > 1 else self.contents[0])
        if not pointer.exists():
            pointer.parent.mkdir(parents=True)
            pointer.symlink_to(blob)
        return str(pointer)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Hub]:
    monkeypatch.setenv("TORCHGRAFT_CACHE", str(tmp_path / "cache"))
    for variable in ("TORCHGRAFT_MIRROR", "TORCHGRAFT_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
                     "HF_ENDPOINT"):  # fmt: skip
        monkeypatch.delenv(variable, raising=False)

    def made(name: str) -> Hub:
        hub = Hub(tmp_path / "hub", name)
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.download)
        return hub

    return made


SHA256 = hashlib.sha256(BODY).hexdigest()
GIT = hashlib.sha1(b"blob %d\0" % len(BODY) + BODY).hexdigest()


@pytest.mark.parametrize("name", [SHA256, GIT], ids=["large", "small"])
def test_what_comes_right(name: str, make: Callable[[str], Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make(name)
    path = hub_file("timm/net", "model.bin")
    assert path is not None
    assert path.read_bytes() == BODY
    monkeypatch.setattr("torchgraft.storage.hub.sha256_of", None)  # it is read once; calling it would fail
    assert hub_file("timm/net", "model.bin") == path
    assert hub.asked == [{}, {}]


@pytest.mark.parametrize("name", [SHA256, GIT], ids=["large", "small"])
def test_wrong_bytes_of_the_right_length_are_downloaded_again(name: str, make: Callable[[str], Hub]) -> None:
    hub = make(name)
    hub.contents = [OTHER, BODY]
    path = hub_file("timm/net", "model.bin")
    assert path is not None
    assert path.read_bytes() == BODY
    assert hub.asked == [{}, {"force_download": True}]


def test_wrong_bytes_for_ever(make: Callable[[str], Hub]) -> None:
    hub = make(SHA256)
    hub.contents = [OTHER]
    for _ in range(2):
        with pytest.raises(FetchError, match="wrong bytes") as caught:
            hub_file("timm/net", "model.bin")
        assert caught.value.where == "timm/net/model.bin"
    assert len(hub.asked) == 4


def test_a_file_of_its_cache_that_changed_is_checked_again(make: Callable[[str], Hub]) -> None:
    make(SHA256)
    path = hub_file("timm/net", "model.bin")
    assert path is not None
    path.write_bytes(OTHER)
    os.utime(path, ns=(1, 1))
    found = hub_file("timm/net", "model.bin")
    assert found is not None
    assert found.read_bytes() == BODY


def test_a_damaged_file_offline(make: Callable[[str], Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make(SHA256)
    hub.contents = [OTHER]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FetchError, match="damaged, and this is offline"):
        hub_file("timm/net", "model.bin")


def test_our_switch_keeps_its_library_offline(
    make: Callable[[str], Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = make(SHA256)
    monkeypatch.setenv("TORCHGRAFT_OFFLINE", "1")
    hub_file("timm/net", "model.bin")
    assert hub.asked == [{"local_files_only": True}]


def test_a_revision(make: Callable[[str], Hub]) -> None:
    hub = make(SHA256)
    hub_file("timm/net", "model.bin", "v2")
    assert hub.asked == [{"revision": "v2"}]


@pytest.mark.parametrize(
    ("error", "offline", "expected"),
    [
        (EntryNotFoundError("404"), False, None),
        (LocalEntryNotFoundError("no network"), False, "hub: LocalEntryNotFoundError"),
        (LocalEntryNotFoundError("off"), True, "not in the hub's cache, and this is offline"),
        (ConnectionError("token hf_SECRET"), False, "hub: ConnectionError"),
    ],
)
def test_what_its_library_raises(
    error: Exception,
    offline: bool,
    expected: str | None,
    make: Callable[[str], Hub],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make(SHA256)

    def download(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    if offline:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if expected is None:
        assert hub_file("timm/net", "model.bin") is None
        return
    with pytest.raises(FetchError, match=expected) as caught:
        hub_file("timm/net", "model.bin")
    assert "TORCHGRAFT_MIRROR to a folder that holds timm/net/model.bin" in str(caught.value.hint)
    assert "SECRET" not in str(caught.value)


def test_a_repository_behind_terms(make: Callable[[str], Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    make(SHA256)

    def download(*_: object) -> str:
        raise GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(FetchError) as caught:
        hub_file("timm/net", "model.bin")
    assert "accept its terms" in str(caught.value.hint)


def test_a_mirror(make: Callable[[str], Hub], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = make(SHA256)
    mirrored = tmp_path / "mirror" / "timm" / "net" / "pytorch_model.bin"
    mirrored.parent.mkdir(parents=True)
    mirrored.write_bytes(BODY)
    monkeypatch.setenv("TORCHGRAFT_MIRROR", str(tmp_path / "mirror"))
    assert hub_file("timm/net", "pytorch_model.bin") == mirrored
    assert hub.asked == []
    monkeypatch.setenv("TORCHGRAFT_OFFLINE", "1")

    def absent(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    assert hub_file("timm/net", "model.safetensors") is None  # the mirror has all that the repository has


def test_fetch_goes_through_it(make: Callable[[str], Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    hub = make(SHA256)
    path = fetch(PAGE)
    assert path.read_bytes() == BODY
    assert fetch("hf://timm/net.a1/model.safetensors", sha256=SHA256) == path
    assert hub.asked == [{}, {}]
    with pytest.raises(FetchError, match="another one"):
        fetch(PAGE, sha256="0" * 64)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(path))
    assert find_fetched(PAGE) == path
    path.resolve().write_bytes(OTHER)
    assert find_fetched(PAGE) is None
