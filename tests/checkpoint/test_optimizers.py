"""States of optimizers are found in a file by their form, however the file is built, and nothing is read."""

from __future__ import annotations

import argparse

import pytest
import torch
from torch import nn

import torchgraft as tg
from torchgraft.checkpoint.optimizers import find_optimizers
from torchgraft.formats.container import Placeholder
from torchgraft.tensors import TensorRef


def state():
    net = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return net.state_dict(), optimizer.state_dict()


@pytest.mark.parametrize(
    ("wrap", "paths"),
    [
        (lambda w, o: {"model": w, "optimizer": o}, ["optimizer"]),
        (lambda w, o: {"state_dict": w, "optimizer_states": [o, o]}, ["optimizer_states.0"]),  # one object
        (lambda w, o: (w, {"opt": {"d": o}}), ["1.opt.d"]),
        (lambda w, o: {"model": w, "args": argparse.Namespace(optimizer=o)}, ["args.optimizer"]),
        (lambda w, _: w, []),
    ],
)
def test_where_they_are(wrap, paths, tmp_path):
    weights, optimizer = state()
    torch.save(wrap(weights, optimizer), tmp_path / "x.pth")
    found = tg.open(tmp_path / "x.pth").optimizers
    assert list(found) == paths
    for kept in found.values():
        assert kept["param_groups"][0]["betas"] == (0.9, 0.999)
        moment = kept["state"][0]["exp_avg"]
        assert isinstance(moment, TensorRef)
        assert torch.equal(moment.read(), optimizer["state"][0]["exp_avg"])


@pytest.mark.parametrize("groups", [None, [], {}, [1], [{}], [{"params": 3}]])
def test_what_is_none(groups):
    assert find_optimizers({"a": {"state": {}, "param_groups": groups}}) == {}
    assert find_optimizers({"state": 3, "param_groups": [{"params": []}]}) == {}


def test_endless_trees_end():
    tree = {"a": []}
    tree["a"].append(tree)
    tree["b"] = Placeholder("x.Y", state=tree)
    deep = tree
    for _ in range(3000):
        deep = {"c": deep}
    assert find_optimizers(deep) == find_optimizers(tree) == {}


def test_weights_in_memory_have_none():
    assert tg.Checkpoint.from_state_dict(state()[0]).optimizers == {}
