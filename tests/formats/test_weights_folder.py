"""Folders as transformers, its Trainer, accelerate, diffusers, PEFT and torchgraft leave them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import torchgraft as tg
from torchgraft.errors import CheckpointError, CorruptCheckpointError, NoWeightsError
from torchgraft.formats import read_container

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}
NO_CHECKPOINT = b"not to be opened"


def fill(folder: Path, *names: str) -> Path:
    """Write weights under the names that end as weights do, and something else under the others."""
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        state = name.startswith(("optimizer", "scheduler", "rng", "random", "training", "sampler", "scaler"))
        if path.suffix == ".safetensors":
            save_file(TENSORS, path)
        elif path.suffix in {".bin", ".pt", ".pth", ".ckpt"} and not state:
            torch.save(TENSORS, path)
        else:
            path.write_bytes(NO_CHECKPOINT)
    return folder


TRAINER = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "rng_state_1.pth", "scaler.pt",
           "trainer_state.json", "training_args.bin", "config.json", "tokenizer.json")  # fmt: skip
ACCELERATE = (
    "optimizer.bin",
    "optimizer_1.bin",
    "scheduler.bin",
    "random_states_0.pkl",
    "sampler.bin",
    "sampler_1.bin",
)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        pytest.param(("model.safetensors",), "model.safetensors", id="one file"),
        pytest.param(("pytorch_model.bin", "config.json"), "pytorch_model.bin", id="transformers of old"),
        pytest.param(("model.safetensors", *TRAINER), "model.safetensors", id="the Trainer"),
        pytest.param(("pytorch_model.bin", *TRAINER), "pytorch_model.bin", id="the Trainer of old"),
        pytest.param(("model.safetensors", *ACCELERATE), "model.safetensors", id="accelerate"),
        pytest.param(("model.fp16.safetensors",), "model.fp16.safetensors", id="a variant alone"),
        pytest.param(("model.safetensors", "tf_model.h5", "flax_model.msgpack", "model.onnx", "onnx/x.onnx"),
                     "model.safetensors", id="other libraries' formats beside"),
        pytest.param(("best.pth", "train.py", "notes.txt"), "best.pth", id="a file of a person's"),
    ],
)  # fmt: skip
def test_the_weights_are_found(
    names: tuple[str, ...], chosen: str, tmp_path: Path, assert_same: Callable[[object, object], None]
) -> None:
    fill(tmp_path, *names)
    container = read_container(tmp_path)
    assert container.path == tmp_path / chosen
    assert isinstance(container.tree, dict)
    assert_same({key: container.tree[key] for key in TENSORS}, TENSORS)
    beside = {
        name: (tmp_path / name).stat().st_size for name in sorted(names) if name != chosen and "/" not in name
    }
    assert container.metadata.get("other files", {}) == beside
    assert tg.open(tmp_path).keys() == TENSORS.keys()


@pytest.mark.parametrize(
    "names",
    [
        ("model.safetensors", "model.fp16.safetensors"),
        ("model.safetensors", "pytorch_model.bin"),
        ("model.safetensors", "model_1.safetensors", *ACCELERATE),
        ("pytorch_model.bin", "pytorch_model_1.bin"),
        ("best.pt", "last.pt"),
        ("adapter_model.safetensors", "model.safetensors"),
        ("model.safetensors", "model-00001-of-00001.safetensors"),
    ],
    ids="+".join,
)
def test_several_are_named_and_none_is_guessed(names: tuple[str, ...], tmp_path: Path) -> None:
    fill(tmp_path, *names)
    with pytest.raises(NoWeightsError, match="2 checkpoints") as caught:
        read_container(tmp_path)
    weights = [name for name in names if name not in ACCELERATE]
    assert all(name in caught.value.what for name in weights)
    assert caught.value.where == str(tmp_path)
    assert any(str(tmp_path / name) in str(caught.value.hint) for name in weights)


def test_an_index_with_its_shards_is_one_checkpoint(tmp_path: Path) -> None:
    fill(tmp_path, "model-00001-of-00001.safetensors", *TRAINER)
    places = dict.fromkeys(TENSORS, "model-00001-of-00001.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places, "metadata": {"total_size": 32}}))
    container = read_container(tmp_path)
    assert container.format == "safetensors shards"
    assert container.metadata["total_size"] == 32
    assert sorted(container.metadata["other files"]) == sorted(TRAINER)  # type: ignore[call-overload]
    (tmp_path / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": {"a": "pytorch_model.bin"}})
    )
    with pytest.raises(NoWeightsError, match="2 checkpoints") as caught:
        read_container(tmp_path)
    assert "pytorch_model.bin.index.json" in caught.value.what
    assert str(index) in str(caught.value.hint)
    assert len(tg.open(index)) == 2


def test_shards_of_another_save_are_another_checkpoint(tmp_path: Path) -> None:
    fill(tmp_path, "model-00001-of-00001.safetensors", "model-00001-of-00002.safetensors")
    places = dict.fromkeys(TENSORS, "model-00001-of-00001.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(NoWeightsError, match="model-00001-of-00002"):
        read_container(tmp_path)
    assert len(tg.open(index)) == 2


def test_an_index_of_any_name(tmp_path: Path) -> None:
    fill(tmp_path, "x.safetensors").joinpath("x.safetensors").rename(tmp_path / "part-a")
    (tmp_path / "my.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(TENSORS, "part-a")}))
    assert len(tg.open(tmp_path)) == 2


def test_an_adapter_brings_its_configuration(tmp_path: Path) -> None:
    fill(tmp_path, "adapter_model.safetensors", "README.md", *TRAINER)
    config = {
        "peft_type": "LORA",
        "r": 8,
        "target_modules": ["q", "v"],
        "base_model_name_or_path": "org/name",
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    checkpoint = tg.open(tmp_path)
    assert checkpoint.metadata["adapter_config"] == config
    assert len(checkpoint) == 2
    (tmp_path / "adapter_config.json").write_text('{"r": 8, "r": 9}')
    with pytest.raises(CorruptCheckpointError, match="adapter_config"):
        tg.open(tmp_path)
    (tmp_path / "adapter_config.json").unlink()
    assert "adapter_config" not in tg.open(tmp_path).metadata


def test_our_own_folder(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    tg.save(model, tmp_path / "out")
    checkpoint = tg.open(tmp_path / "out")
    assert all(torch.equal(checkpoint[key].read(), value) for key, value in model.state_dict().items())
    assert "torchgraft" in checkpoint.metadata
    assert list(checkpoint.metadata["other files"]) == ["torchgraft.json"]  # type: ignore[call-overload]


def test_thousands_of_other_files_are_cut(tmp_path: Path) -> None:
    fill(tmp_path, "model.safetensors", *(f"{number}.txt" for number in range(300)))
    others = read_container(tmp_path).metadata["other files"]
    assert isinstance(others, dict)
    assert len(others) == 201
    assert others["…"] == "100 more"


@pytest.mark.parametrize("names", [(), TRAINER, ("config.json",), ("tokenizer.model",), ACCELERATE])
def test_a_folder_without_weights(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="folder without weights") as caught:
        read_container(fill(tmp_path, *names))
    assert caught.value.where == str(tmp_path)


def test_folders_with_weights_inside_are_named(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "unet/model.safetensors",
        "vae/model.safetensors",
        "scheduler/config.json",
        "model_index.json",
    )
    (tmp_path / "loop").symlink_to(tmp_path)
    with pytest.raises(CheckpointError, match="there are some in unet, vae") as caught:
        read_container(tmp_path)
    assert str(tmp_path / "unet") in str(caught.value.hint)


def test_weights_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.bin").write_text("a b c")
    with pytest.raises(CheckpointError, match=r"vocab\.bin"):
        read_container(tmp_path)


def test_other_files_are_not_opened(tmp_path: Path) -> None:
    fill(tmp_path, "model.safetensors")
    (tmp_path / "optimizer.pt").symlink_to("/dev/zero")
    (tmp_path / "README.md").symlink_to("nowhere")
    others = read_container(tmp_path).metadata["other files"]
    assert others == {"README.md": None, "optimizer.pt": 0}
