"""What features are kept under."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from torchgraft.finetuning.heads.features import _model_key


def test_the_key_depends_on_weights_of_any_layout() -> None:
    """PyTorch won't view the bytes of a single element with a stride, though it calls it contiguous."""

    def key(scale: torch.Tensor) -> str:
        model = nn.Module()
        model.scale = nn.Parameter(scale)
        job: Any = SimpleNamespace(model=model, preprocessing=SimpleNamespace(to_json=dict))
        return _model_key(job, "head")

    spread = torch.arange(10.0)[::7][1:]
    assert (spread.stride(), spread.is_contiguous()) == ((7,), True)
    assert key(spread) == key(torch.tensor([7.0])) != key(torch.tensor([8.0]))
