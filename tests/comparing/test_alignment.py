"""Equal tensors are equal wherever their bytes begin."""

from __future__ import annotations

import torch

from torchgraft.checkpoint import Checkpoint
from torchgraft.comparing import diff


def test_bytes_that_begin_at_odd_places_are_the_same() -> None:
    memory = torch.arange(9, dtype=torch.float32)
    aligned, shifted = memory[:8].clone(), torch.empty(9)[1:].copy_(memory[:8])
    assert aligned.data_ptr() % 8 == 0
    assert shifted.data_ptr() % 8 == 4
    found = diff(
        Checkpoint.from_state_dict({"w": aligned}), Checkpoint.from_state_dict({"w": shifted}), values=True
    )
    assert found.equal


def test_a_single_element_may_have_any_stride() -> None:
    """PyTorch won't view the bytes of such a tensor, though it calls it contiguous."""
    spread = torch.arange(10.0)[::7][1:]
    assert (spread.stride(), spread.is_contiguous()) == ((7,), True)
    packed = torch.full((1,), 7.0)
    for other, equal in ((packed, True), (packed + 1, False)):
        one, two = Checkpoint.from_state_dict({"w": spread}), Checkpoint.from_state_dict({"w": other})
        assert diff(one, two, values=True).equal is equal
