"""Where a file may be found without asking its server. `find` itself is tested with `fetch`."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchgraft.storage.elsewhere import in_mirror, mirror_address, mirrored, offline, offline_hub

VARIABLES = ("TORCHGRAFT_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@pytest.mark.parametrize(
    ("variable", "value", "everything", "hub"),
    [
        ("TORCHGRAFT_OFFLINE", "1", True, True),
        ("TORCHGRAFT_OFFLINE", " True ", True, True),
        ("TORCHGRAFT_OFFLINE", "0", False, False),
        ("TORCHGRAFT_OFFLINE", "", False, False),
        ("HF_HUB_OFFLINE", "1", False, True),
        ("TRANSFORMERS_OFFLINE", "yes", False, True),
    ],
)
def test_offline(
    variable: str, value: str, everything: bool, hub: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    assert (offline(), offline_hub()) == (everything, hub)


def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHGRAFT_MIRROR", str(tmp_path))
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.pth").write_bytes(b"x")
    (tmp_path / "empty.pth").touch()
    assert in_mirror("a/b/c.pth") == tmp_path / "a" / "b" / "c.pth"
    assert in_mirror("empty.pth") is None
    assert in_mirror("a") is None
    assert (mirrored("a/b"), mirrored("a/c")) == (True, False)
    assert mirror_address("x.pth") is None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHGRAFT_MIRROR", "a")
    assert in_mirror("b/c.pth") == tmp_path / "a" / "b" / "c.pth"


@pytest.mark.parametrize("base", ["https://mirror.example/w", "https://mirror.example/w/"])
def test_an_address(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHGRAFT_MIRROR", base)
    assert mirror_address("ein netz.pth") == "https://mirror.example/w/ein%20netz.pth"
    assert in_mirror("x.pth") is None
    assert not mirrored("a/b")


def test_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHGRAFT_MIRROR", raising=False)
    assert (in_mirror("x"), mirror_address("x"), mirrored("a/b")) == (None, None, False)
