"""Writes safetensors: the header is known from names, shapes and dtypes, then the tensors follow one by one.

The format is documented at huggingface.co/docs/safetensors. It has no tied tensors: each is written whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO

from torchgraft.checkpoint import at_hand
from torchgraft.errors import SaveError
from torchgraft.formats.safetensors import DTYPES, MAX_HEADER
from torchgraft.saving.tensor_bytes import tensor_bytes
from torchgraft.tensors import DTYPE_BITS, TensorRef

__all__ = ["SafetensorsFile"]

_CODES = {name: code for code, name in DTYPES.items()}
_HINT = "end the name in .pth"


class SafetensorsFile:
    """A file that can be written.

    Args:
        tensors: By key.
        metadata: Texts for the header.
        where: The file's name, for messages.

    Raises:
        SaveError: The format can't hold a tensor, a name or so long a header.
    """

    def __init__(self, tensors: Mapping[str, TensorRef], metadata: Mapping[str, str], *, where: str) -> None:
        for key, ref in tensors.items():
            lacking = "sparse tensors" if ref.is_sparse else ref.dtype
            if ref.is_sparse or ref.dtype not in _CODES:
                raise SaveError(
                    f"{key[:200]!r} can't be written as safetensors: the format has no {lacking}",
                    where=where,
                    hint=_HINT,
                )
        if "__metadata__" in tensors:
            raise SaveError("the name '__metadata__' means something else there", where=where, hint=_HINT)
        # Large elements first, so that each tensor begins at a multiple of its element's size.
        self._tensors = sorted(tensors.items(), key=lambda item: -DTYPE_BITS[item[1].dtype])
        self._header = self._make_header(list(tensors), metadata, where)

    def write(self, file: IO[bytes]) -> None:
        """Write it, a few megabytes at a time.

        Raises:
            SaveError, CheckpointError: A tensor can't be read.
        """
        file.write(self._header)
        for _, ref in at_hand(self._tensors):
            for piece in tensor_bytes(ref):
                file.write(piece)

    def _make_header(self, keys: list[str], metadata: Mapping[str, str], where: str) -> bytes:
        """The header in the order of the keys, whatever the order of the bytes."""
        places: dict[str, object] = {}
        at = 0
        for key, ref in self._tensors:
            places[key] = {
                "dtype": _CODES[ref.dtype],
                "shape": ref.shape,
                "data_offsets": (at, at + ref.nbytes),
            }
            at += ref.nbytes
        header = {"__metadata__": dict(metadata), **{key: places[key] for key in keys}}
        try:
            text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError as error:
            raise SaveError(
                f"{error.object[error.start - 20 : error.end + 20]!r} is no text that can be written",
                where=where,
                hint=_HINT,
            ) from error
        text += b" " * (-len(text) % 8)
        if len(text) > MAX_HEADER:
            raise SaveError(
                f"its header would take {len(text)} bytes; readers accept {MAX_HEADER}",
                where=where,
                hint="write several files (shard_size=…), or end the name in .pth",
            )
        return len(text).to_bytes(8, "little") + text
