"""Lazy: a plan reads nothing, and applying it reads each tensor that it needs, once."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import torchgraft as tg


@pytest.fixture
def counted():
    """A checkpoint, and how often each of its tensors was fetched."""

    def build(state):
        reads: Counter[str] = Counter()

        def fetch(name):
            def read(index):
                reads[name] += 1
                return state[name][index]

            return read

        refs = {
            name: tg.TensorRef(name, tuple(t.shape), str(t.dtype).removeprefix("torch."), fetch=fetch(name))
            for name, t in state.items()
        }
        return tg.Checkpoint(refs), reads

    return build


SITUATIONS = [
    ({}, {}, set()),
    ({"classes": 2}, {}, {"head.weight", "head.bias"}),
    ({"classes": 2}, {"source_labels": list("abcde"), "labels": list("ec")}, set()),
    ({"channels": 4}, {}, set()),
]


@pytest.mark.parametrize(("sizes", "arguments", "unread"), SITUATIONS)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_only_what_is_needed_and_once(net, counted, sizes, arguments, unread, prefix):
    state = {prefix + key: value for key, value in net(1).state_dict().items()}
    state |= {"optimizer.moment": torch.zeros(3, 3), "other.weight": torch.zeros(2)}
    checkpoint, reads = counted(state)
    plan = tg.plan(net(**sizes), checkpoint, **arguments)
    assert not reads
    plan.apply()
    unread = {prefix + key for key in unread} | {"optimizer.moment", "other.weight"}
    assert reads == {name: 1 for name in state if name not in unread}
    assert {entry.name for entry in plan.sources if entry.status == "unused"} == unread


def test_a_refusal_reads_nothing(net, counted):
    state = net(1).state_dict()
    del state["body.0.bias"]
    checkpoint, reads = counted(state)
    with pytest.raises(tg.CoverageError):
        tg.graft(net(), checkpoint)
    assert not reads


def test_a_changed_model_reads_nothing(net, counted):
    checkpoint, reads = counted(net(1).state_dict())
    model = net()
    plan = tg.plan(model, checkpoint)
    model.head = torch.nn.Linear(6, 9)
    with pytest.raises(tg.ModelError):
        plan.apply()
    assert not reads


def test_the_model_is_not_run_where_nothing_hangs_on_it(net, counted):
    """A graft by exact names asks for neither stem nor head."""
    checkpoint, _ = counted(net(1).state_dict())
    model = net()
    model.register_forward_pre_hook(lambda *_: pytest.fail("the model was run"))
    tg.graft(model, checkpoint)


def test_rows_that_are_read_into_place_need_no_second_copy(net, counted):
    """What is fetched may be a view of a mapping: nothing writes to it."""
    state = net(1).state_dict()
    before = {key: value.clone() for key, value in state.items()}
    checkpoint, _ = counted(state)
    model = net(classes=2, channels=4)
    tg.graft(model, checkpoint, source_labels=list("abcde"), labels=list("ec"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3)
    assert all(torch.equal(state[key], before[key]) for key in state)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta")
def test_a_sparse_source_is_written_as_a_dense_one(layout, tmp_path):
    dense = torch.eye(3)[:, :2]
    sparse = dense.to_sparse() if layout == torch.sparse_coo else dense.to_sparse_csr()
    torch.save({"weight": sparse, "bias": torch.ones(3)}, tmp_path / "x.pth")
    model = torch.nn.Linear(2, 3)
    tg.graft(model, tg.open(tmp_path / "x.pth"))
    assert model.weight.tolist() == dense.tolist()
