"""torchvision's way: a state dict in a `.pth` file, whose name may end in the first digits of its SHA-256."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO, cast

import torch
from torch import nn

from torchgraft.errors import SaveError
from torchgraft.exporting.result import Exported
from torchgraft.saving.torch_file import torch_save
from torchgraft.storage.atomic import atomic_file

__all__ = ["export_state_dict"]

_DIGITS = 8  # torch.hub compares as many as the name has; torchvision's and timm's have these
_KINDS = (".pth", ".pt", ".bin", ".tar", ".ckpt")


def export_state_dict(model: nn.Module, path: Path, hash_name: bool) -> Exported:
    """Write the file; `torch.load(path, weights_only=True)` reads it.

    Raises:
        SaveError: The name is none of such a file, or nothing could be written.
    """
    if path.suffix not in _KINDS:
        raise SaveError(
            f"{path.suffix or 'a name without an ending'} is none of a state dict's file",
            where=str(path),
            hint=f"end the name in .pth: {path.with_suffix('.pth').name}",
        )
    tensors = {
        name: value.detach().cpu()
        for name, value in model.state_dict().items()
        if isinstance(value, torch.Tensor)
    }
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise SaveError(
                f"{name!r} is on the meta device and has no values",
                where=str(path),
                hint="load weights into the model first",
            )
    if not hash_name:
        with atomic_file(path) as file:
            torch_save(tensors, file)
        return Exported(path, "torchvision", f"a state dict of {len(tensors)} tensors, for load_state_dict")
    # The name has to be known before the file can be put in place: it is written twice, once to nowhere.
    counted = _Digest(None)
    torch_save(tensors, cast("IO[bytes]", counted))
    digest = counted.sha256.hexdigest()
    target = path.with_name(f"{path.stem}-{digest[:_DIGITS]}{path.suffix}")
    with atomic_file(target) as file:
        written = _Digest(file)
        torch_save(tensors, cast("IO[bytes]", written))
        if written.sha256.hexdigest() != digest:
            raise SaveError(
                "the tensors have changed while they were being written",
                where=str(target),
                hint="stop what trains the model, then export it again",
            )
    return Exported(
        target,
        "torchvision",
        f"a state dict of {len(tensors)} tensors, for load_state_dict; its SHA-256 is {digest}",
    )


class _Digest:
    """A file that sums up what is written to it, on the way to another one or to nowhere."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        if self._file is not None:
            self._file.write(data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()
