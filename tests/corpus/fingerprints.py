"""A tensor in one line, so that two processes can compare theirs exactly: bit for bit, NaNs too."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

__all__ = ["fingerprint"]


def fingerprint(value: torch.Tensor | np.ndarray[Any, Any]) -> str:
    """Its layout, dtype and shape, and a hash of its elements' bytes in order."""
    tensor = value if isinstance(value, torch.Tensor) else _of_array(value)
    tensor = tensor.detach()
    if tensor.layout == torch.sparse_coo:
        parts = [tensor._indices(), tensor._values()]
        return f"{tensor.layout} {tuple(tensor.shape)} {' '.join(map(fingerprint, parts))}"
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        parts = [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
        return f"{tensor.layout} {tuple(tensor.shape)} {' '.join(map(fingerprint, parts))}"
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        parts = [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
        return f"{tensor.layout} {tuple(tensor.shape)} {' '.join(map(fingerprint, parts))}"
    if tensor.is_quantized:
        parts = [tensor.int_repr(), tensor.dequantize()]
        return f"{tensor.dtype} {tensor.qscheme()} {' '.join(map(fingerprint, parts))}"
    whole = tensor.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
    raw = whole.flatten().view(torch.uint8).numpy().tobytes() if whole.numel() else b""
    return f"{tensor.dtype} {tuple(tensor.shape)} {hashlib.sha256(raw).hexdigest()[:16]}"


def _of_array(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """The same elements in the order of this machine; dtypes of ml_dtypes become PyTorch's of that name."""
    array = np.asarray(array)
    native = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="), copy=False)
    native = native.reshape(array.shape)
    dtype = getattr(torch, "bool" if native.dtype == bool else native.dtype.name)
    if not native.size:
        return torch.empty(native.shape, dtype=dtype)
    raw = torch.frombuffer(bytearray(native.tobytes()), dtype=torch.uint8)
    return raw.view(dtype).reshape(native.shape)
