"""Layers that lie otherwise: bare projections, flattened patches."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching import Flow, match
from torchgraft.tensors import Named

BODY = [Named(f"l{i}.weight", (8, 8 + i)) for i in range(1, 10)]
THERE = [Named(f"m{i}.weight", (8, 8 + i)) for i in range(1, 10)]


def value(matching, target, tensor):
    (pair,) = [pair for pair in matching.pairs if pair.target == target]
    for op in pair.ops:
        tensor = op.apply(tensor)
    return tensor


def test_a_bare_parameter_is_a_linear_transposed():
    found = match([*BODY, Named("proj", (8, 5))], [*THERE, Named("head.weight", (5, 8))])
    tensor = torch.rand(8, 5)
    assert torch.equal(value(found, "head.weight", tensor), tensor.T)


def test_a_square_one_is_refused_unless_layouts_says_or_another_votes():
    ours, theirs = [*BODY, Named("proj", (8, 8))], [*THERE, Named("head.weight", (8, 8))]
    with pytest.raises(AmbiguousMatchError, match="square") as caught:
        match(ours, theirs)
    assert "layouts=" in (caught.value.hint or "")
    tensor = torch.rand(8, 8)
    assert torch.equal(value(match(ours, theirs, layouts={"proj": "IO"}), "head.weight", tensor), tensor.T)
    assert torch.equal(value(match(ours, theirs, layouts={"proj": "OI"}), "head.weight", tensor), tensor)
    voting = match([*ours, Named("text", (8, 7))], [*theirs, Named("words.weight", (7, 8))])
    assert torch.equal(value(voting, "head.weight", tensor), tensor.T)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_kernel_goes_into_a_flattened_patch_in_the_models_order(order):
    kernel = torch.rand(6, 3, 4, 4)
    found = match(
        [Named("stem.weight", (6, 3, 4, 4)), *BODY],
        [Named("patch.weight", (6, 48)), *THERE],
        flow_of=lambda: Flow({}, {}, {}, {}, lambda: {"patch.weight": order}),
    )
    by_hand = torch.stack([row.permute(order).flatten() for row in kernel])
    assert torch.equal(value(found, "patch.weight", kernel), by_hand)


@pytest.mark.parametrize(("layout", "order"), [("OIHW", (0, 1, 2)), ("OHWI", (1, 2, 0)), ("OWHI", (2, 1, 0))])
def test_a_flattened_patch_goes_into_a_kernel_as_the_user_says(layout, order):
    kernel = torch.rand(6, 3, 4, 4)
    flat = torch.stack([row.permute(order).flatten() for row in kernel])
    ours = [Named("patch.weight", (6, 48)), *BODY]
    theirs = [Named("stem.weight", (6, 3, 4, 4)), *THERE]
    with pytest.raises(AmbiguousMatchError, match="flattened"):
        match(ours, theirs)
    found = match(ours, theirs, layouts={"patch.weight": layout})
    assert torch.equal(value(found, "stem.weight", flat), kernel)


def test_a_flattened_feature_map_lies_channels_first():
    kernel = torch.rand(6, 16, 4, 4)
    found = match([Named("c.weight", (6, 16, 4, 4)), *BODY], [Named("fc.weight", (6, 256)), *THERE])
    assert torch.equal(value(found, "fc.weight", kernel), kernel.flatten(1))


def test_two_of_one_size_are_not_guessed():
    ours = [*BODY, Named("p", (8, 5)), Named("q", (8, 5))]
    theirs = [*THERE, Named("x.weight", (5, 8)), Named("y.weight", (5, 8))]
    found = match(ours, theirs)
    assert found.unmatched_targets == ("x.weight", "y.weight")
    assert found.unmatched_sources == ("p", "q")
