"""Which part of a file is the weights: told by content, explained, and refused where two fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torchgraft as tg
from torchgraft.checkpoint import Checkpoint
from torchgraft.formats.container import Container, Placeholder
from torchgraft.tensors import TensorRef


def ref(*shape: int, dtype: str = "float32") -> TensorRef:
    return TensorRef("", shape, dtype, fetch=lambda index: torch.zeros(shape)[index])


def net(width: int = 4) -> dict[str, TensorRef]:
    return {"conv.weight": ref(width, 3, 3, 3), "conv.bias": ref(width), "fc.weight": ref(10, width)}


def opened(tree: object, select: str | None = None) -> Checkpoint:
    return Checkpoint.from_container(Container("x.pth", Path("x.pth"), "zip", tree), select)


ADAM = {
    "state": {index: {"step": ref(), "exp_avg": ref(4, 3), "exp_avg_sq": ref(4, 3)} for index in range(3)},
    "param_groups": [{"lr": 0.1, "params": [0, 1, 2]}],
}
ADAM_BY_NAME = {
    name: {"exp_avg": ref(*shape), "exp_avg_sq": ref(*shape)}
    for name, shape in [("conv.weight", (4, 3, 3, 3)), ("fc.weight", (10, 4))]
}


@pytest.mark.parametrize(
    ("tree", "part"),
    [
        (net(), ""),
        ({**net(), "epoch": 3, "note": "flat, with numbers beside"}, ""),
        ({"anything": net(), "epoch": 3}, "anything"),
        ({"deep": {"er": {"still": net()}}}, "deep.er.still"),
        ({"optimizer": ADAM, "zzz": net()}, "zzz"),
        ({"opt": {"state": ADAM_BY_NAME}, "net": net()}, "net"),
        ({"w": net(), "w_ema": net()}, "w"),
        ({"ema_shadow": {f"module.{key}": value for key, value in net().items()}, "w": net()}, "w"),
        ({"rng": ref(5056, dtype="uint8"), "m": net()}, "m"),
        ({"loss": {"center": ref(2)}, "m": net(64)}, "m"),
        ({"list": [1, {"m": net()}]}, "list.1.m"),
        ({"encoder": {"layer": {"kernel": ref(3, 3), "bias": ref(3)}}, "head": {"kernel": ref(3, 2)}}, ""),
    ],
)
def test_weights_are_found_by_content(tree: Any, part: str) -> None:
    assert opened(tree).part == part


def test_nested_names_are_joined() -> None:
    checkpoint = opened({"encoder": {"layer": {"kernel": ref(3, 3)}}, "head": {"kernel": ref(3, 2)}})
    assert {key: value.name for key, value in checkpoint.items()} == {
        "encoder.layer.kernel": "encoder.layer.kernel",
        "head.kernel": "head.kernel",
    }


def test_nothing_is_stripped() -> None:
    assert list(opened({"m": {f"module.{key}": value for key, value in net().items()}})) == [
        "module.conv.weight",
        "module.conv.bias",
        "module.fc.weight",
    ]


def test_two_sets_that_fit_equally_are_refused_by_name() -> None:
    with pytest.raises(tg.NoWeightsError, match="holds 2 sets of weights") as caught:
        opened({"G": net(4), "D": net(5)})
    assert "select='D'" in str(caught.value)
    assert "G (weights" in str(caught.value)


def test_twins_that_no_word_tells_apart_are_refused() -> None:
    with pytest.raises(tg.NoWeightsError, match="holds 2 sets"):
        opened({"first": net(), "second": net()})


@pytest.mark.parametrize(("select", "part"), [("G", "models.G"), ("models.G", "models.G"), ("D", "models.D")])
def test_select_takes_a_path_or_its_end(select: str, part: str) -> None:
    assert opened({"models": {"G": net(4), "D": net(5)}}, select).part == part


def test_select_of_all_sets_keeps_their_paths_and_leaves_the_optimizer() -> None:
    keys = list(opened({"G": {"a.w": ref(2, 2)}, "D": {"a.w": ref(2, 3)}, "opt": ADAM}, "."))
    assert keys == ["G.a.w", "D.a.w"]


def test_a_wrong_select_lists_the_parts() -> None:
    with pytest.raises(tg.NoWeightsError, match="no part called 'nope'") as caught:
        opened({"m": net(), "opt": ADAM}, "nope")
    assert "m (weights, 3 tensors" in str(caught.value)
    assert "opt.state (per-parameter state" in str(caught.value)


def test_the_copy_is_listed_and_explained() -> None:
    checkpoint = opened({"w": net(), "w_ema": net(), "epoch": 7})
    kinds = {part.name: part.kind for part in checkpoint.parts}
    assert kinds == {"w": "weights", "w_ema": "copy"}
    assert "w_ema: copy, 3 tensors (the keys and shapes of w again)" in str(checkpoint)
    assert "epoch: 7" in str(checkpoint)
    assert checkpoint.select("w_ema").part == "w_ema"


def test_no_weights_says_what_there_is() -> None:
    with pytest.raises(tg.NoWeightsError, match=r"holds no weights: only opt\.state"):
        opened({"opt": ADAM})
    with pytest.raises(tg.NoWeightsError, match="holds no weights"):
        opened({"epoch": 3})


def module(name: str, parameters: dict[str, Any], modules: dict[str, Any], **more: Any) -> Placeholder:
    state = {"training": True, "_parameters": parameters, "_buffers": {}, "_modules": modules} | more
    return Placeholder(name, state=state)


def test_a_whole_module_gives_its_state_dict_without_its_class() -> None:
    norm = module(
        "torch.nn.modules.batchnorm.BatchNorm2d",
        {"weight": ref(4), "bias": None},
        {},
        _buffers={"running_mean": ref(4), "cache": ref(9)},
        _non_persistent_buffers_set={"cache"},
    )
    whole = module("lost.Net", {"scale": ref()}, {"norm": norm, "nothing": None})
    checkpoint = opened(whole)
    assert list(checkpoint) == ["scale", "norm.weight", "norm.running_mean"]
    assert checkpoint.classes == ("lost.Net", "torch.nn.modules.batchnorm.BatchNorm2d")


def test_trees_that_hold_themselves_end() -> None:
    tree: dict[str, Any] = {"m": net()}
    tree["self"] = [tree]
    whole = module("lost.Net", {"w": ref(2, 2)}, {})
    whole.state["_modules"]["again"] = whole  # type: ignore[index]
    tree["whole"] = Placeholder("x.Box", state={"inner": tree})
    assert opened(tree).part == "m"
    assert list(opened(whole)) == ["w"]


def test_metadata_is_plain_and_counts_tensors() -> None:
    import json

    tree = {
        "m": net(),
        "args": Placeholder("argparse.Namespace", state={"lr": 0.1}),
        "stats": ref(2),
        "raw": b"12",
    }
    metadata = opened(tree, "m").metadata
    assert metadata == {
        "m": "3 tensors",
        "args": {"class": "argparse.Namespace", "lr": 0.1},
        "raw": "2 bytes",
    }
    json.dumps(metadata)


def test_a_state_dict_in_memory() -> None:
    model = nn.Linear(3, 2)
    checkpoint = Checkpoint.from_state_dict(model.state_dict())
    assert torch.equal(checkpoint["weight"][:1], model.weight[:1])
    copy = checkpoint["weight"].read()
    copy.zero_()
    assert model.weight.abs().sum() > 0
    assert repr(checkpoint) == "<Checkpoint weights in memory: 2 tensors>"


def doubled(levels: int, make: Any) -> Any:
    """A tree that shares its branches: 2 to the power of `levels` leaves when it is written out."""
    node: Any = make(1, 2)
    for _ in range(levels):
        node = make(node, node)
    return node


def nested(levels: int, make: Any) -> Any:
    node: Any = 0
    for _ in range(levels):
        node = make(node)
    return node


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "tree",
    [
        doubled(60, lambda a, b: [a, b]),
        doubled(60, lambda a, b: {"a": a, "b": b}),
        doubled(60, lambda a, b: Placeholder("x.Y", (a,), state=b)),
        {0: {"w": ref(2), "x": doubled(60, lambda a, b: {"a": a, "b": b})}, 1: {"w": ref(2), "x": {}}},
        {Placeholder("builtins.list", (doubled(60, lambda a, b: [a, b]),)): 1},
        nested(100_000, lambda node: [node]),
        nested(100_000, lambda node: {"a": node}),
        nested(100_000, lambda node: (node,)),
        nested(100_000, lambda node: Placeholder("x.Y", state=node)),
        [Placeholder(f"x.Y{number}") for number in range(100_000)],
    ],
    ids=[
        "lists",
        "dicts",
        "objects",
        "per-parameter",
        "key",
        "deep list",
        "deep dict",
        "deep tuple",
        "deep",
        "names",
    ],
)
def test_endless_trees_are_opened_all_the_same(tree: Any) -> None:
    checkpoint = opened({"m": net(), "rest": tree}, "m")
    assert len(checkpoint) == 3
    assert "m" in str(checkpoint)


@pytest.mark.parametrize("levels", [60, 20_000], ids=["shared", "deep"])
def test_endless_modules_are_refused(levels: int) -> None:
    whole = module("lost.Net", {"w": ref(2, 2)}, {})
    for _ in range(levels):
        whole = module("lost.Net", {}, {"a": whole} if levels > 60 else {"a": whole, "b": whole})
    with pytest.raises(tg.UnsafeCheckpointError, match="holds 200,000 others"):
        opened(whole)


@pytest.mark.parametrize(
    ("tree", "part"),
    [
        ({"model": {"weight": ref(3, 4), "bias": ref(3)}}, "model"),
        ({"model": {"weight": ref(3, 4)}, "model_ema": {"weight": ref(3, 4)}}, "model"),
        ({"params": {"conv": {"kernel": ref(3, 3)}, "fc": {"kernel": ref(3, 2)}}}, "params"),
    ],
)
def test_a_model_of_one_layer_is_not_taken_for_a_layer(tree: Any, part: str) -> None:
    assert opened(tree).part == part


def test_tied_tensors_stay_tied(tmp_path: Path) -> None:
    tied = nn.Parameter(torch.randn(4, 3))
    path = tmp_path / "tied.pth"
    torch.save({"a.weight": tied, "b.weight": tied, "c.weight": torch.randn(4, 3)}, path)
    state = tg.open(path).state_dict()
    assert state["a.weight"] is state["b.weight"]
    assert state["c.weight"] is not state["a.weight"]
    torch.testing.assert_close(state["a.weight"], tied.detach(), rtol=0, atol=0)


def test_opening_and_printing_does_not_import_torch(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"model": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2)).state_dict(), "epoch": 3}, path)
    program = (
        "import sys, torchgraft as tg; print(tg.open(sys.argv[1])); "
        "sys.exit(any(name == 'torch' or name.startswith('torch.') for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 tensors" in done.stdout
    assert "epoch: 3" in done.stdout
