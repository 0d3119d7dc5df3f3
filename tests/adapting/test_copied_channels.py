"""Stems that see each channel several times: each copy as a convolution's channels would be."""

from __future__ import annotations

import json

import pytest
import torch

from torchgraft import AdaptError
from torchgraft.adapting import Change, CopiedChannels, InputChannels, InputLayout, find_ops, op_from_json
from torchgraft.planning.script_ops import spelled

MODES = ["repeat", "mean", "sum", "zeros", (2, 1, 0, "mean")]


def by_hand(weight, op):
    """Copy by copy, picked out by the place of its channels."""
    n, m = op.change.source, op.change.target
    out = weight.new_empty(op.shape(tuple(weight.shape)))
    for copy in range(op.copies):
        old, new = (
            [c * op.copies + copy if op.together else copy * size + c for c in range(size)] for size in (n, m)
        )
        out[:, new] = op.change.apply(weight[:, old])
    return out


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_each_copy_is_changed_alike(mode, together, kernel):
    """In the shape of a `Linear` and of a convolution."""
    weight = torch.rand(5, 3 * 4, *kernel)
    layout = InputLayout(1, 4, 4, together)
    change = Change(tuple(weight.shape), (5, 16, *kernel), "stem", {InputChannels.name: mode}, place=layout)
    (op,) = find_ops(change)
    assert torch.equal(op.apply(weight), by_hand(weight, op))
    assert op_from_json(json.loads(json.dumps(op.to_json()))) == op
    expression = spelled(op, "w", tuple(weight.shape), "float32")
    assert torch.equal(eval(expression, {"torch": torch, "w": weight}), op.apply(weight))
    if mode != "sum":
        torch.testing.assert_close(op.invert(op.apply(weight)), weight)


@pytest.mark.parametrize("together", [True, False])
def test_it_is_the_convolution_over_patches(together):
    kernel = torch.rand(5, 3, 2, 2)
    flat = (kernel if together else kernel.permute(0, 2, 3, 1)).reshape(5, 12)
    for mode in ("repeat", "keep-scale", "mean"):
        op = CopiedChannels(InputChannels(3, 4, mode), 4, together)
        want = InputChannels(3, 4, mode).apply(kernel)
        want = (want if together else want.permute(0, 2, 3, 1)).reshape(5, 16)
        assert torch.equal(op.apply(flat), want)


def test_channels_in_another_order_keep_their_number():
    weight = torch.rand(2, 6)
    change = Change((2, 6), (2, 6), "stem", {InputChannels.name: [2, 1, 0]}, place=InputLayout(1, 3, 2, True))
    (op,) = find_ops(change)
    assert torch.equal(op.apply(weight), weight[:, [4, 5, 2, 3, 0, 1]])
    assert op.describe() == "input channels 3→3, 2,1,0, for each of 2 pixels"


def test_what_is_no_multiple_is_refused():
    change = Change((2, 7), (2, 8), "stem", place=InputLayout(1, 4, 2, True))
    with pytest.raises(AdaptError, match="7 inputs are no multiple of 2"):
        find_ops(change)
    op = CopiedChannels(InputChannels(3, 4, "sum"), 2, together=True)
    assert op.with_mode("zeros").mode == "zeros"
    with pytest.raises(AdaptError, match="can't be undone"):
        op.invert(op.apply(torch.rand(2, 6)))
