"""A file of `torch.save` inside a pickle: what `pickle.dumps` of a tensor makes of its storage."""

from __future__ import annotations

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.archives.zip_directory import is_zip, read_directory
from torchgraft.formats.pickles.values import Blob, Budget, Nesting
from torchgraft.formats.torch.legacy_file import TORCH_LEGACY, read_legacy
from torchgraft.formats.torch.zip_file import read_archive
from torchgraft.storage.memory import MemoryFile
from torchgraft.storage.part import FilePart

__all__ = ["read_nested"]

_MAX_DEPTH = 4


def read_nested(data: Blob | bytes, budget: Budget) -> object:
    """What the nested file holds, its storages apart from those of the outer one.

    Args:
        data: The file's bytes.
        budget: Of the pickle it is in. A file that is read over and over uses it up.

    Raises:
        UnsafeCheckpointError: Files are nested in files again and again.
        CheckpointError: It can't be read.
    """
    nesting = budget.nesting
    if nesting.depth == _MAX_DEPTH:
        raise UnsafeCheckpointError(f"files are nested {_MAX_DEPTH + 1} deep in it", where=budget.where)
    if isinstance(data, Blob):
        budget.spend(data.size)
        place = f"{data.offset}"
        file: FilePart | MemoryFile = FilePart(data.file, data.offset, data.size, f"nested file at {place}")
    else:
        budget.spend(len(data))
        file = MemoryFile(f"{budget.where}: nested file", memoryview(bytearray(data)))
        place = f"#{id(file):x}"  # it lives as long as the tensors that look into it
    inner = Nesting(nesting.depth + 1, f"{nesting.prefix}{place}/")
    head = bytes(file.view(0, min(64, file.size)))
    if is_zip(head):
        return read_archive(file, read_directory(file), inner).tree
    if TORCH_LEGACY.recognise(head):
        return read_legacy(file, inner).tree
    raise CorruptCheckpointError("a nested file is none that torch.save wrote", where=file.name)
