"""`convert` and `diff` of a file that is far away: few requests, and the same checks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import torchgraft as tg
from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats import read_container
from torchgraft.storage.remote_file import RemoteFile

TENSORS = {f"layer.{i}.weight": torch.rand(200, 100) for i in range(40)}


class Ranges:
    """A remote file of these bytes; counts the requests."""

    name = "far://file"

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.asked = 0

    def read_into(self, offset: int, into: memoryview) -> None:
        self.asked += 1
        into[:] = self.content[offset : offset + len(into)]

    def check(self) -> None:
        """Nothing changes here."""


def far(content: bytes, *, verify: bool) -> tuple[Ranges, tg.Checkpoint]:
    ranges = Ranges(content)
    return ranges, tg.Checkpoint.from_container(read_container(RemoteFile(ranges, verify=verify)))


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    torch.save(TENSORS, tmp_path / "x.pth")
    return (tmp_path / "x.pth").read_bytes()


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("target", ["new.pth", "new.safetensors"])
def test_it_comes_in_few_requests(target: str, verify: bool, content: bytes, tmp_path: Path) -> None:
    ranges, opened = far(content, verify=verify)
    found = tg.open(tg.convert(opened, tmp_path / target)).state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in TENSORS.items())
    assert ranges.asked < len(TENSORS) / 2
    ranges, opened = far(content, verify=verify)
    assert tg.diff(opened, tmp_path / target, values=True).equal
    assert ranges.asked < len(TENSORS) / 2


def test_damage_is_found(content: bytes, tmp_path: Path) -> None:
    raw = TENSORS["layer.7.weight"].numpy().tobytes()
    at = content.index(raw) + len(raw) // 2
    bad = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    _, opened = far(bad, verify=True)
    with pytest.raises(CorruptCheckpointError, match="not what its checksum says") as caught:
        tg.convert(opened, tmp_path / "new.pth")
    assert "far://file: x/data/7" in str(caught.value.where)
    assert not (tmp_path / "new.pth").exists()
    _, opened = far(bad, verify=False)
    tg.convert(opened, tmp_path / "new.pth")
