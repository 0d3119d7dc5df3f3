"""Into another dtype and onto another device as the file is read, with no copy beside the model."""

from __future__ import annotations

import weakref

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import torchgraft as tg
from checkpoint.quantisers import deepseek


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that operators make, and the most there were at a time."""

    def __init__(self):
        super().__init__()
        self.live, self.most = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {
            t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)
        }
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                storage = tensor.untyped_storage()
                if storage._cdata not in self.live and storage._cdata not in given:
                    self.live[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.live.pop, storage._cdata, None)
                    self.most = max(self.most, sum(self.live.values()))
        return out


def deep(dtype=torch.float32, layers=12, width=128):
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(layers))).to(dtype)


@pytest.fixture
def files(tmp_path):
    """The same model in float32, float64 and quantised, as files."""
    torch.manual_seed(0)
    state = deep().state_dict()
    quantised = {}
    for key, value in state.items():
        if key.endswith("weight"):
            names = deepseek(value).items()
            quantised |= {key.removesuffix("weight") + n.removeprefix("layer."): t for n, t in names}
        else:
            quantised[key] = value
    made = {"float32": state, "float64": {k: v.double() for k, v in state.items()}, "float8": quantised}
    for name, tensors in made.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
        torch.save(tensors, tmp_path / f"{name}.pth")
    return tmp_path


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
@pytest.mark.parametrize("stored", ["float32", "float64", "float8"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_no_copy_beside_the_model(files, ending, stored, dtype):
    path = files / f"{stored}.{ending}"
    expected = deep(dtype)
    tg.graft(expected, path)
    with torch.device("meta"):
        model = deep(dtype)
    with LiveBytes() as memory:
        tg.graft(model, path)
    assert {t.dtype for t in model.state_dict().values()} == {dtype}
    for key, value in model.state_dict().items():
        assert torch.equal(value, expected.state_dict()[key])
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    largest = 128 * 128 * 8
    least = 0 if stored == str(dtype).removeprefix("torch.") else size  # what fits as it is is mapped
    assert least <= memory.most <= least + 3 * largest  # of some 12 tensors


def test_what_is_dequantised_is_never_whole_in_float32(files, monkeypatch):
    """A few rows at a time, into a model that has its memory, too."""
    monkeypatch.setattr("torchgraft.planning.applying._PIECE", 10_000)
    expected = deep(torch.bfloat16)
    tg.graft(expected, tg.open(files / "float32.pth"))
    size = sum(t.numel() * t.element_size() for t in expected.state_dict().values())
    for device in ("meta", "cpu"):
        with torch.device(device):
            model = deep(torch.bfloat16)
        with LiveBytes() as memory:
            tg.graft(model, files / "float8.pth")
        assert size <= memory.most <= size + 8 * 10_000
        for key, value in model.state_dict().items():
            assert torch.allclose(value, expected.state_dict()[key], rtol=0.07, atol=1e-3)


def test_device_of_meta_tensors_only():
    with torch.device("meta"):
        model = deep(layers=2)
    other = deep(layers=2)
    model[1] = deep(layers=1)[0]
    plan = tg.plan(model, other)
    with pytest.raises(tg.ModelError, match="can't be put on device 'nowhere'"):
        plan.apply(device="nowhere")
    assert model[0].weight.is_meta
    plan.apply(device="cpu")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
def test_on_a_graphics_card(files):
    with torch.device("meta"):
        model = deep(torch.bfloat16)
    tg.graft(model, files / "float8.pth", device="cuda")
    assert {(t.dtype, t.device.type) for t in model.state_dict().values()} == {(torch.bfloat16, "cuda")}
