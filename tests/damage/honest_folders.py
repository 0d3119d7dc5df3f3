"""Checkpoints in several files."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save

from damage.honest import Honest
from damage.honest_torch import saved, tensors

__all__ = ["FOLDERS"]


def _shards() -> Honest:
    names = [f"model-{number:05}-of-00002.safetensors" for number in (1, 2)]
    index = {"metadata": {"total_size": 106}, "weight_map": {"a": names[0], "b": names[1], "s": names[1]}}
    left = tensors()
    parts = {
        "model.safetensors.index.json": json.dumps(index).encode(),
        names[0]: save({"a": left.pop("a")}, {"format": "pt"}),
        names[1]: save(left, {"format": "pt"}),
    }
    return Honest(parts, opens="")


def _torch_shards() -> Honest:
    names = [f"pytorch_model-{number:05}-of-00002.bin" for number in (1, 2)]
    index = {"metadata": {"total_size": 106}, "weight_map": {"a": names[0], "b": names[1], "s": names[1]}}
    left = tensors()
    parts = {
        "pytorch_model.bin.index.json": json.dumps(index).encode(),
        names[0]: saved({"a": left.pop("a")}),
        names[1]: saved(left),
    }
    return Honest(parts, opens="pytorch_model.bin.index.json")


def _trainer() -> Honest:
    config = {"architectures": ["BertModel"], "hidden_size": 4}
    state = {"epoch": 1.0, "log_history": [{"loss": 0.5, "step": 1}]}
    parts = {
        "model.safetensors": save(tensors(), {"format": "pt"}),
        "config.json": json.dumps(config).encode(),
        "trainer_state.json": json.dumps(state).encode(),
        "training_args.bin": saved({"lr": 0.1}),
    }
    return Honest(parts, opens="")


def _adapter() -> Honest:
    config = {"peft_type": "LORA", "r": 8, "target_modules": ["q", "v"], "base_model_name_or_path": "x/y"}
    parts = {
        "adapter_config.json": json.dumps(config, indent=2).encode(),
        "adapter_model.safetensors": save(tensors(), {"format": "pt"}),
    }
    return Honest(parts, opens="")


def _dcp() -> Honest:
    state = {
        "model": tensors() | {"t": torch.arange(6.0).view(2, 3).t()},
        "epoch": 3,
        "list": [torch.ones(2), "x"],
    }
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state, checkpoint_id=folder)
        parts = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    return Honest(parts, opens="", checked=tuple(name for name in parts if name != ".metadata"))


def _dcp_safetensors() -> Honest:
    whole = torch.arange(24.0).reshape(4, 6)
    ranks = [
        ({"a": whole[:1], "b": torch.ones(2)}, {"a": [0, 0], "b": [0]}),
        ({"a": whole[1:]}, {"a": [1, 0]}),
    ]
    parts = {}
    for rank, (pieces, places) in enumerate(ranks, 1):
        info = json.dumps({key: {"saved_offsets": at} for key, at in places.items()})
        own = {key: tensor.clone() for key, tensor in pieces.items()}
        parts[f"shard-{rank:05}-model-00001-of-00001.safetensors"] = save(own, {"DCP_SHARDING_INFO": info})
    return Honest(parts, opens="")


FOLDERS: dict[str, Callable[[], Honest]] = {
    "safetensors shards": _shards,
    "torch shards": _torch_shards,
    "Trainer": _trainer,
    "PEFT": _adapter,
    "DCP": _dcp,
    "DCP safetensors": _dcp_safetensors,
}
