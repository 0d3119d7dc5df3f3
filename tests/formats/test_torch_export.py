"""Exported programs against `torch.export.load`."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torchgraft as tg
from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)

CONFIG = "data/weights/model_weights_config.json"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.tied = nn.Linear(2, 3)
        self.tied.weight = self.layer.weight
        self.register_buffer("buffer", torch.ones(2))
        self.register_buffer("hidden", torch.ones(3), persistent=False)
        self.small = nn.Parameter(torch.randn(3).half())
        self.flipped = nn.Parameter(torch.randn(3, 2).t())
        self.part = nn.Parameter(torch.randn(12)[3:9:2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shift = self.buffer.sum() + self.flipped.sum()
        return self.layer(x) + self.tied(x) + self.hidden + self.small + shift


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "net.pt2"
    torch.export.save(torch.export.export(Net(), (torch.randn(4, 2),)), path)
    return path


def test_the_same_as_torch_export_load(exported: Path) -> None:
    theirs = torch.export.load(exported).state_dict
    ours = tg.open(exported)
    assert (ours.format, ours.part) == ("torch export", "")
    assert list(ours) == list(theirs)
    for key, tensor in theirs.items():
        read = ours[key].read()
        assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(read, tensor)
        assert torch.equal(ours[key][1:], tensor[1:])
    assert ours["layer.weight"].alias == ours["tied.weight"].alias


def changed(path: Path, into: Path, edit: Callable[[dict[str, Any]], object], **more: bytes) -> Path:
    made = into / "changed.pt2"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(CONFIG):
                config = json.loads(data)
                edit(config["config"])
                data = json.dumps(config).encode()
            new.writestr(name, more.get(name.rpartition("/")[2], data))
    return made


def test_a_deflated_copy(exported: Path, tmp_path: Path) -> None:
    ours, theirs = tg.open(changed(exported, tmp_path, lambda config: config)), tg.open(exported)
    assert all(torch.equal(ours[key].read(), theirs[key].read()) for key in theirs)


def test_a_weight_that_was_pickled(exported: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(torch.arange(2.0), buffer)
    with zipfile.ZipFile(exported) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(CONFIG)]
        place = json.loads(archive.read(name))["config"]["buffer"]["path_name"]
    path = changed(
        exported, tmp_path, lambda c: c["buffer"].update(use_pickle=True), **{place: buffer.getvalue()}
    )
    assert tg.open(path)["buffer"].read().tolist() == [0, 1]
    with pytest.raises(CorruptCheckpointError, match=r"changed\.pt2: .*not what torch\.save writes"):
        tg.open(changed(exported, tmp_path, lambda c: c["buffer"].update(use_pickle=True)))


def meta(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["layer.weight"]["tensor_meta"].update(changes)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda config: config["buffer"].update(path_name="weight_99"), id="no such entry"),
        pytest.param(lambda config: config["buffer"].update(path_name="../../../x"), id="a path out of it"),
        pytest.param(lambda config: config["buffer"].pop("path_name"), id="no entry"),
        pytest.param(lambda config: config.update(buffer=3), id="a number"),
        pytest.param(meta(dtype=99), id="no such dtype"),
        pytest.param(meta(dtype=8), id="a wider dtype"),
        pytest.param(meta(dtype=11), id="a dtype that does not divide"),
        pytest.param(meta(layout=1), id="sparse"),
        pytest.param(meta(sizes=[{"as_int": 30}, {"as_int": 2}]), id="larger"),
        pytest.param(meta(sizes=[{"as_int": -3}, {"as_int": 2}]), id="negative"),
        pytest.param(meta(sizes=[{"as_expr": "s0"}, {"as_int": 2}]), id="symbolic"),
        pytest.param(meta(sizes=[{"as_int": True}, {"as_int": 2}]), id="a truth value"),
        pytest.param(meta(sizes=[{"as_int": 3}]), id="fewer sizes"),
        pytest.param(meta(storage_offset={"as_int": 1}), id="beyond the end"),
        pytest.param(meta(storage_offset=None), id="no offset"),
    ],
)
def test_lies_are_refused(edit: Callable[[dict[str, Any]], object], exported: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"changed\.pt2: net/data/weights/"):
        tg.open(changed(exported, tmp_path, edit))


@pytest.mark.parametrize("old", [b'"layer.weight"', b'"path_name": "weight_0"'])
def test_the_list_of_weights_is_held_against_its_checksum(old: bytes, exported: Path, tmp_path: Path) -> None:
    data = exported.read_bytes()
    path = tmp_path / "x.pt2"
    path.write_bytes(data.replace(old, old[:-2] + b'!"', 1))  # the list comes before the program
    for verify in (False, True):
        with pytest.raises(CorruptCheckpointError, match=r"x\.pt2: net/data/weights/.*checksum"):
            tg.open(path, verify=verify)


def test_an_archive_of_an_older_version(tmp_path: Path) -> None:
    """Up to PyTorch 2.7 the state dict was a file of `torch.save` in the archive."""
    state = Net().state_dict()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with zipfile.ZipFile(tmp_path / "x.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", buffer.getvalue())
        archive.writestr("version", "8.5")
    ours = tg.open(tmp_path / "x.pt2")
    assert list(ours) == list(state)
    assert all(torch.equal(ours[key].read(), value) for key, value in state.items())


def test_a_large_compressed_file_inside_is_not_inflated(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("serialized_state_dict.pt", bytes(1 << 27))
    with pytest.raises(UnsafeCheckpointError, match=r"x\.pt2: serialized_state_dict\.pt: a compressed file"):
        tg.open(tmp_path / "x.pt2")
