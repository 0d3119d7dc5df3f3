"""Several sets of weights in the folders of training runs: listed, and chosen by `select=`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import nn

import torchgraft as tg
from torchgraft.cli import commands
from torchgraft.errors import NoWeightsError

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled, unavailable or uninitialized")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """torch.distributed.checkpoint's folder of a run with an average and an optimizer."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.rand(3, 4)).sum().backward()
    optimizer.step()
    average = {key: tensor + 1 for key, tensor in net.state_dict().items()}
    state = {
        "model": net.state_dict(),
        "ema": {"module": average, "decay": 0.99},
        "optim": optimizer.state_dict(),
    }
    dcp.save(state, checkpoint_id=tmp_path / "run")
    return tmp_path / "run"


def test_they_are_listed(run: Path) -> None:
    checkpoint = tg.open(run)
    assert {part.name: part.kind for part in checkpoint.parts} == {
        "model": "weights",
        "ema.module": "copy",
        "optim.state": "per-parameter state",
    }
    assert checkpoint.part == "model"
    shown = json.loads(CliRunner().invoke(commands, ["inspect", str(run), "--json"]).stdout)
    assert [(part["name"], part["kind"]) for part in shown["parts"]] == [
        (part.name, part.kind) for part in checkpoint.parts
    ]


@pytest.mark.parametrize("select", ["ema", "EMA", "ema.module", "module"])
def test_a_word_chooses_one(select: str, run: Path) -> None:
    average, raw = tg.open(run, select=select), tg.open(run)
    assert average.part == "ema.module"
    assert list(average) == list(raw)
    assert all(torch.equal(average[key].read(), raw[key].read() + 1) for key in raw)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Trainer's folder with three checkpoints, one of which is damaged."""
    (tmp_path / "folder").mkdir()
    save_file({"w": torch.ones(2, 2)}, tmp_path / "folder" / "model.safetensors")
    save_file({"w": torch.zeros(2, 2)}, tmp_path / "folder" / "ema_model.safetensors")
    torch.save({"model": {"w": torch.full((2, 2), 2.0)}, "epoch": 3}, tmp_path / "folder" / "last.pt")
    (tmp_path / "folder" / "bad.bin").write_bytes(b"x" * 100)
    (tmp_path / "folder" / "optimizer.pt").write_bytes(b"not opened")
    return tmp_path / "folder"


@pytest.mark.parametrize(
    ("select", "part", "value"),
    [
        ("model.safetensors", "model.safetensors", 1),
        ("ema_model.safetensors", "ema_model.safetensors", 0),
        ("ema", "ema_model.safetensors", 0),
        ("last.pt.model", "last.pt.model", 2),
        ("last", "last.pt.model", 2),
    ],
)
def test_one_of_several_checkpoints_in_a_folder(select: str, part: str, value: int, folder: Path) -> None:
    checkpoint = tg.open(folder, select=select)
    assert (checkpoint.part, checkpoint.format) == (part, "folder of weights")
    assert (checkpoint["w"].read() == value).all()
    assert [found.name for found in checkpoint.parts] == [
        "ema_model.safetensors",
        "last.pt.model",
        "model.safetensors",
    ]
    assert checkpoint.metadata["other files"] == {"optimizer.pt": 10}
    assert "can't be opened" in str(checkpoint.metadata["bad.bin"])


def test_none_of_them_is_taken_without_a_word(folder: Path) -> None:
    with pytest.raises(NoWeightsError, match="this folder holds 4 checkpoints") as caught:
        tg.open(folder)
    assert "select='bad.bin'" in str(caught.value.hint)
    with pytest.raises(NoWeightsError, match="no part called 'teacher'") as caught:
        tg.open(folder, select="teacher")
    assert "ema_model.safetensors" in str(caught.value.hint)
    with pytest.raises(NoWeightsError, match="parts called"):
        tg.open(folder, select="safetensors")


def test_a_folder_of_one_checkpoint_has_no_names_of_files(tmp_path: Path) -> None:
    torch.save({"model": {"w": torch.ones(2)}, "ema": {"w": torch.zeros(2)}}, tmp_path / "last.pt")
    assert tg.open(tmp_path, select="ema").part == "ema"


@pytest.mark.parametrize("select", ["", "e", "decay", "teacher"])
def test_a_word_that_chooses_none_or_several(select: str, run: Path) -> None:
    with pytest.raises(NoWeightsError, match="called") as caught:
        tg.open(run, select=select)
    assert "ema.module" in str(caught.value.hint)
