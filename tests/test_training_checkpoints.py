"""Checkpoints as training frameworks write them, made by hand: what is taken as the weights, and why."""

from __future__ import annotations

import argparse
import copy
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchgraft as tg


def model(classes: int = 3) -> nn.Module:
    torch.manual_seed(classes)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, classes))


def weights(prefix: str = "", classes: int = 3) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value for key, value in model(classes).state_dict().items()}


def optimizer(kind: type[torch.optim.Optimizer] = torch.optim.AdamW) -> dict[str, Any]:
    net = model()
    made = kind(net.parameters(), lr=0.1, **({"momentum": 0.9} if kind is torch.optim.SGD else {}))  # type: ignore[call-arg]
    net(torch.randn(2, 3, 3, 3)).sum().backward()
    made.step()
    return made.state_dict()


@pytest.fixture
def lost() -> Iterator[Callable[[str], Any]]:
    """Makes a class in a module that is gone when the file is read, as a user's own may be."""
    made: list[str] = []

    def make(dotted: str) -> Any:
        module, _, name = dotted.rpartition(".")
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            inner = ".".join(parts[:end])
            if inner not in sys.modules:
                sys.modules[inner] = types.ModuleType(inner)
                made.append(inner)
        cls = type(name, (), {"__module__": module})
        setattr(sys.modules[module], name, cls)
        return cls

    def forget() -> None:
        for name in made:
            sys.modules.pop(name, None)

    make.forget = forget  # type: ignore[attr-defined]
    yield make
    forget()


def config(lost: Callable[[str], Any]) -> Any:
    """As omegaconf's: nodes that hold their parents."""
    root, leaf = lost("omegaconf_like.dictconfig.DictConfig")(), lost("omegaconf_like.nodes.AnyNode")()
    leaf.__dict__.update(_val=0.1, _parent=root, _metadata={"key": "lr"})
    root.__dict__.update(_content={"lr": leaf}, _parent=None, _flags_cache=None)
    return root


def lightning(lost: Callable[[str], Any]) -> dict[str, Any]:
    return {
        "epoch": 3,
        "global_step": 99,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": weights("model."),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best_model_score": torch.tensor(0.5), "k": {}}},
        "optimizer_states": [optimizer()],
        "lr_schedulers": [{"last_epoch": 3, "_last_lr": [0.1]}],
        "hparams_name": "kwargs",
        "hyper_parameters": {"config": config(lost), "args": argparse.Namespace(lr=0.1), "path": Path("a/b")},
    }


def timm(_lost: Callable[[str], Any]) -> dict[str, Any]:
    return {
        "epoch": 1, "arch": "resnet18", "state_dict": weights(), "optimizer": optimizer(torch.optim.SGD),
        "version": 2, "args": argparse.Namespace(lr=0.1, model="resnet18"), "amp_scaler": {"scale": 65536.0},
        "state_dict_ema": weights(), "metric": 77.5,
    }  # fmt: skip


def mmengine(lost: Callable[[str], Any]) -> dict[str, Any]:
    hub = lost("mmengine_like.logging.message_hub.HistoryBuffer")()
    hub.__dict__.update(_log_history=np.array([1.0, 2.0]), _count_history=np.array([1, 1]), _max_length=9)
    return {
        "meta": {"dataset_meta": {"CLASSES": ("a", "b")}, "cfg": "model = dict()", "seed": 0},
        "state_dict": weights(),
        "message_hub": {"log_scalars": {"train/lr": hub}, "runtime_info": {}},
        "optimizer": optimizer(),
        "param_schedulers": [{"last_step": 3}],
        "ema_state_dict": weights("module.") | {"steps": torch.tensor(3)},
    }


def detectron2(_lost: Callable[[str], Any]) -> dict[str, Any]:
    return {
        "model": weights(), "optimizer": optimizer(torch.optim.SGD), "scheduler": {"last_epoch": 9},
        "iteration": 9, "ema_state": weights(),
    }  # fmt: skip


def dino(_lost: Callable[[str], Any]) -> dict[str, Any]:
    return {
        "student": weights("module.backbone."), "teacher": weights("backbone."), "optimizer": optimizer(),
        "epoch": 1, "args": argparse.Namespace(arch="vit_small"), "dino_loss": {"center": torch.zeros(1, 4)},
    }  # fmt: skip


def ultralytics(_lost: Callable[[str], Any]) -> dict[str, Any]:
    net = model()
    return {
        "epoch": -1, "best_fitness": np.float64(0.5), "model": net, "ema": copy.deepcopy(net).half(),
        "updates": 10, "optimizer": None, "train_args": {"lr": 0.1}, "date": "2024-01-01",
    }  # fmt: skip


def fairseq(lost: Callable[[str], Any]) -> dict[str, Any]:
    return {
        "args": None, "cfg": config(lost), "model": weights("encoder."), "criterion": None,
        "optimizer_history": [{"num_updates": 3}], "last_optimizer_state": optimizer(),
        "extra_state": {"metrics": [], "train_iterator": {"epoch": 1}, "rng": torch.get_rng_state()},
        "ema": {"module": weights("encoder.")},
    }  # fmt: skip


MADE: dict[str, tuple[Callable[[Callable[[str], Any]], dict[str, Any]], str, str]] = {
    "lightning": (lightning, "state_dict", ""),
    "timm": (timm, "state_dict", "state_dict_ema"),
    "mmengine": (mmengine, "state_dict", "ema_state_dict"),
    "detectron2": (detectron2, "model", "ema_state"),
    "dino": (dino, "student", ""),
    "ultralytics": (ultralytics, "model", "ema"),
    "fairseq": (fairseq, "model", "ema.module"),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", MADE)
def test_the_weights_are_found_and_the_rest_is_told(
    name: str, zipped: bool, tmp_path: Path, lost: Callable[[str], Any]
) -> None:
    make, part, ema = MADE[name]
    made = make(lost)
    torch.save(made, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    lost.forget()  # type: ignore[attr-defined]
    checkpoint = tg.open(tmp_path / "x.pth")
    assert checkpoint.part == part
    expected = made[part].state_dict() if isinstance(made[part], nn.Module) else made[part]
    assert list(checkpoint) == list(expected)
    assert all(torch.equal(checkpoint[key].read(), value) for key, value in expected.items())
    reason = "over 20 times larger than the next set" if name == "dino" else "the only set of weights beside"
    assert checkpoint.why.startswith(reason)
    kinds = {found.name: found.kind for found in checkpoint.parts}
    assert kinds.pop(part) == "weights"
    assert [found for found, kind in kinds.items() if kind == "weights"] == ["dino_loss"] * (name == "dino")
    if ema:
        assert kinds[ema] == "copy"
        chosen = tg.open(tmp_path / "x.pth", select="ema")
        assert chosen.part == ema
        assert chosen.why in ("as asked", "the only set of weights with 'ema' in its name")
        assert checkpoint.select("EMA").part == ema
    if any("optim" in key and made[key] for key in made):
        assert "per-parameter state" in kinds.values()


def test_unknown_classes_are_placeholders_in_the_metadata(tmp_path: Path, lost: Callable[[str], Any]) -> None:
    torch.save(lightning(lost), tmp_path / "x.ckpt")
    lost.forget()  # type: ignore[attr-defined]
    checkpoint = tg.open(tmp_path / "x.ckpt")
    parameters: Any = checkpoint.metadata["hyper_parameters"]
    assert parameters["args"] == {"class": "argparse.Namespace", "lr": 0.1}
    assert parameters["path"] == "a/b"
    assert parameters["config"]["class"] == "omegaconf_like.dictconfig.DictConfig"
    assert parameters["config"]["_content"]["lr"]["_val"] == 0.1
    assert set(checkpoint.classes) >= {"omegaconf_like.nodes.AnyNode", "argparse.Namespace"}


def test_detectron2_model_zoo(tmp_path: Path) -> None:
    """Plain pickles of arrays, as the model zoo publishes them."""
    made = {"model": {key: value.numpy() for key, value in weights().items()}, "__author__": "Detectron2"}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(made, 2))
    checkpoint = tg.open(tmp_path / "x.pkl")
    assert (checkpoint.part, checkpoint.metadata["__author__"]) == ("model", "Detectron2")
    assert all(np.array_equal(checkpoint[key].read().numpy(), value) for key, value in made["model"].items())


@pytest.mark.parametrize(
    ("select", "part"),
    [
        ("raw", "nets.raw"),
        ("nets.raw", "nets.raw"),
        ("ema", "nets.ema_of_it"),
        ("ema_of", "nets.ema_of_it"),
        ("slow", "slow.inner"),
    ],
)
def test_a_word_names_a_part(select: str, part: str, tmp_path: Path) -> None:
    made = {
        "nets": {"raw": weights(), "ema_of_it": weights()},
        "slow": {"inner": weights(classes=5)},
        "ema_optimizer": optimizer(),
    }
    torch.save(made, tmp_path / "x")
    assert tg.open(tmp_path / "x", select=select).part == part


@pytest.mark.parametrize(("select", "said"), [("ema", "2 parts"), ("no such", "no part"), ("", "no part")])
def test_a_word_that_names_none_or_several_is_refused(select: str, said: str, tmp_path: Path) -> None:
    torch.save({"ema_a": weights(), "ema_b": weights(classes=5), "raw": weights()}, tmp_path / "x")
    with pytest.raises(tg.NoWeightsError, match=f"has {said} called '{select}'") as caught:
        tg.open(tmp_path / "x", select=select)
    assert "ema_a" in str(caught.value.hint)
