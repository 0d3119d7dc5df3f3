"""Which file it was: its length, when it changed, and what its name says of its content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torchgraft.storage.identity import identity_of

KNOWN = {"bytes": "3", "changed": "2001-09-09T01:46:40+00:00"}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("net.pth", {}),
        ("net-old.pth", {}),
        ("net-0123abc.pth", {}),
        ("resnet50-0676ba61.pth", {"sha256 begins": "0676ba61"}),
        ("a" * 64, {"sha256": "a" * 64}),
        ("b" * 40, {}),
    ],
)
def test_a_file(name: str, more: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"abc")
    os.utime(tmp_path / name, (1e9, 1e9))
    assert identity_of(tmp_path / name) == KNOWN | more


def test_a_link_into_a_cache(tmp_path: Path) -> None:
    (tmp_path / ("c" * 64)).write_bytes(b"abc")
    (tmp_path / "model.safetensors").symlink_to("c" * 64)
    assert identity_of(tmp_path / "model.safetensors")["sha256"] == "c" * 64


@pytest.mark.parametrize("name", [".", "absent", "x" * 300])
def test_what_is_no_file(name: str, tmp_path: Path) -> None:
    assert identity_of(tmp_path / name) == {}
