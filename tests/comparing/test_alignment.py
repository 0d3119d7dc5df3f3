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
