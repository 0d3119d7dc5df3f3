"""Pickles without a frame around them: `pickle.dump` of NumPy arrays (detectron2's `.pkl`) or of tensors."""

from __future__ import annotations

import re

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats.container import Container, Format
from torchgraft.formats.pickles import read_pickle
from torchgraft.storage.byte_file import ByteFile

__all__ = ["PLAIN_PICKLE"]

_OLD_START = re.compile(
    rb"\(dp\d+\n|\(lp\d+\n|\}q.|\]q.|c[A-Za-z_][\w.]{0,200}\n[A-Za-z_]\w{0,200}\n", re.DOTALL
)
"""How a dict, a list or an object begins in protocols 0 and 1, which have no mark of their own."""


def _recognise(head: bytes) -> bool:
    if head.startswith(b"\x80"):
        return head[1:2] <= b"\x05"
    return _OLD_START.match(head) is not None


def _read(file: ByteFile) -> Container:
    tree, end = read_pickle(file.data, where=file.name, file=file)
    if end != file.size:
        raise CorruptCheckpointError(
            f"{file.size - end} bytes follow its pickle, which ends at byte {end}",
            where=file.name,
            hint="download it again; if several pickles were written to it, write them to files of their own",
        )
    return Container(file.name, file.path, "pickle", tree)


PLAIN_PICKLE = Format("pickle", _recognise, _read)
