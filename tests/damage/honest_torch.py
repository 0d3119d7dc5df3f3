"""What PyTorch writes into one file, of all ages, and safetensors."""

from __future__ import annotations

import io
import pickle
import warnings
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from damage.honest import Honest, archive, one_file, written
from damage.old_tar import old_tar

__all__ = ["TORCH_FILES", "saved", "tensors"]


def tensors() -> dict[str, torch.Tensor]:
    base = torch.arange(24, dtype=torch.float32)
    return {
        "a": base[:12].clone().view(3, 4),
        "b": torch.ones(5, dtype=torch.bfloat16),
        "s": torch.tensor(3),
    }


def saved(tree: object, **how: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(tree, buffer, **how)
    return buffer.getvalue()


def _tree() -> dict[str, Any]:
    base = torch.arange(24, dtype=torch.float32)
    more = {"t": base.view(4, 6).t(), "p": nn.Parameter(base[3:5])}
    rest = {"epoch": 3, "list": [1.5, (None, "x")], "set": {1}, "args": Namespace(lr=0.1, name="x")}
    kinds = [torch.Size([1, 2]), torch.float16, torch.device("cpu"), np.float64(1.5), np.arange(3)]
    return {"model": OrderedDict(tensors() | more), "kinds": kinds} | rest


def _odd() -> dict[str, Any]:
    """Tensors that are more than a view of a storage."""
    base = torch.arange(8.0)
    dense = torch.tensor([[0.0, 2.0, 0.0], [3.0, 0.0, 4.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "coo": dense.to_sparse(),
            "csr": dense.to_sparse_csr(),
            "quantised": torch.quantize_per_tensor(base, 0.5, 3, torch.quint8),
            "by channel": torch.quantize_per_channel(
                dense, torch.tensor([0.5, 0.25]), torch.tensor([0, 1]), 0, torch.qint8
            ),
            "conjugate": torch.ones(2, dtype=torch.complex64).conj(),
            "negative": torch.complex(base, base).conj().imag,
            "float8": base.to(torch.float8_e4m3fn),
            "expanded": base[:2].expand(3, 2),
            "buffer": nn.Buffer(base[1:3]),
        }


def _module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))


def _pickled_arrays() -> bytes:
    arrays = {"w": np.arange(6, dtype="f4").reshape(2, 3), "f": np.asfortranarray(np.ones((2, 2)))}
    scalars = {"n": np.float32(2), "i": np.array([1, 2], ">i4"), "big": np.arange(600.0)}
    return pickle.dumps({"model": arrays | scalars, "__author__": "x"}, 4)


def _scripted(path: Path) -> None:
    torch.jit.script(_module()).save(path)  # type: ignore[no-untyped-call]


def _exported(path: Path) -> None:
    # The folder's name begins with the file's, and a path object is checked for its ending.
    with path.open("wb") as file:
        torch.export.save(torch.export.export(_module().eval(), (torch.ones(2, 2, 1, 1),)), file)


TORCH_FILES: dict[str, Callable[[], Honest]] = {
    "zip": lambda: archive(saved(_tree())),
    "deflated zip": lambda: archive(saved(_tree(), pickle_protocol=4), ZIP_DEFLATED),
    "odd tensors": lambda: archive(saved(_odd())),
    "zip as torch.save packs it": lambda: Honest({"x": saved(_tree())}, checked=("x",)),
    "whole module": lambda: archive(saved(_module())),
    "legacy": lambda: one_file(saved(_tree(), _use_new_zipfile_serialization=False)),
    "legacy odd tensors": lambda: one_file(saved(_odd(), _use_new_zipfile_serialization=False)),
    "legacy whole module": lambda: one_file(saved(_module(), _use_new_zipfile_serialization=False)),
    "tar": lambda: one_file(old_tar()),
    "pickled arrays": lambda: one_file(_pickled_arrays()),
    "pickled arrays of old": lambda: one_file(pickle.dumps({"w": np.arange(3.0), "n": np.float32(2)}, 0)),
    "pickled tensors": lambda: one_file(pickle.dumps(_tree(), 2)),
    "TorchScript": lambda: archive(written(_scripted), dull=(".py", ".debug_pkl")),
    "torch.export": lambda: archive(written(_exported), dull=("model.json", "model.pt")),
    "safetensors": lambda: one_file(save(tensors(), {"k": "v", "torchgraft.layouts": '{"a": "IO"}'})),
}
