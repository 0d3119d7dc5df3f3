import json
import logging

import pytest
import torch

from torchgraft.finetuning.resuming.checkpoint_files import (
    drop,
    read_checkpoint,
    saved_checkpoints,
    tidy,
    write_checkpoint,
)


def tensors() -> dict[str, dict[str, torch.Tensor]]:
    shared = torch.arange(12.0).view(3, 4)
    return {
        "model": {
            "a": shared,
            "tied": shared,
            "turned": shared.T,
            "part": shared[1:],
            "scalar": torch.tensor(3),
        },
        "optimizer": {},
    }


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "checkpoints" / "step-00000003"
    write_checkpoint(path, {"step": 3, "loss": 0.1 + 0.2, "rank": [float("inf")]}, tensors())
    found = read_checkpoint(path)
    assert found is not None
    assert found.state["loss"] == 0.1 + 0.2
    assert found.state["rank"] == [float("inf")]
    for name, tensor in tensors()["model"].items():
        assert torch.equal(found.tensors["model"][name], tensor)
    assert found.tensors["optimizer"] == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "model.safetensors").write_bytes(b""),
        lambda path: (path / "model.safetensors").unlink(),
        lambda path: (path / "state.json").unlink(),
        lambda path: (path / "state.json").write_text("{"),
        lambda path: (path / "state.json").write_text("[]"),
        lambda path: (path / "state.json").write_text(json.dumps({"torchgraft_checkpoint": 99})),
        lambda path: flip(path / "model.safetensors"),
    ],
    ids=["empty", "gone", "no state", "half state", "a list", "version", "one bit"],
)
def test_damage_is_seen_and_said(damage, tmp_path, caplog):
    path = tmp_path / "step-1"
    write_checkpoint(path, {}, tensors())
    damage(path)
    with caplog.at_level(logging.WARNING):
        assert read_checkpoint(path) is None
    assert "is damaged" in caplog.text
    assert "step-1" in caplog.text


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_the_newest_first(tmp_path):
    for name in ("step-9", "step-10", "step-00000100", "step-x", "phase-1", "steps-3"):
        (tmp_path / name).mkdir()
    assert [path.name for path in saved_checkpoints(tmp_path, "step")] == [
        "step-00000100",
        "step-10",
        "step-9",
    ]


def test_tidying(tmp_path):
    for number in (1, 2, 3):
        write_checkpoint(tmp_path / f"step-{number}", {}, tensors())
    write_checkpoint(tmp_path / "phase-1", {}, tensors())
    tidy(tmp_path, used=tmp_path / "step-2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["phase-1", "step-1", "step-2"]
    drop(tmp_path / "step-2")
    assert not (tmp_path / "step-2").exists()
    tidy(tmp_path, used=None)
    assert [path.name for path in tmp_path.iterdir()] == ["phase-1"]
