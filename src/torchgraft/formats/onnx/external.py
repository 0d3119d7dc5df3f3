"""Values of an ONNX model that are in files beside it (`external_data`), and never anywhere else."""

from __future__ import annotations

from collections.abc import Mapping

from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.local_folder import LocalFolder

__all__ = ["ExternalFiles"]

_MAX_FILES = 10_000  # a process may map 65,530


class ExternalFiles:
    """The files beside a model, each opened once, when a tensor first names it.

    Args:
        model: The model.
    """

    def __init__(self, model: ByteFile) -> None:
        self._model = model
        self._folder: LocalFolder | None = None
        self._files: dict[str, ByteFile] = {}

    def find(self, said: Mapping[str, str], nbytes: int, where: str) -> tuple[ByteFile, int]:
        """The file that holds a tensor's values, and where in it they begin.

        Args:
            said: The tensor's `external_data`: `location`, and perhaps `offset` and `length`.
            nbytes: Bytes that its values take.
            where: The model and the tensor, for messages.

        Raises:
            CorruptCheckpointError: The file is missing or too short, or the numbers don't fit.
            UnsafeCheckpointError: It is outside of the model's folder.
        """
        location = said.get("location", "")
        start = _number(said, "offset", 0, where)
        if _number(said, "length", nbytes, where) != nbytes:
            raise CorruptCheckpointError(
                f"its shape needs {nbytes} bytes, and {location[:200]!r} is said to have {said['length']}",
                where=where,
            )
        file = self._files.get(location)
        if file is None:
            file = self._files[location] = self._open(location, where)
        if start + nbytes > file.size:
            raise CorruptCheckpointError(
                f"its values are {nbytes} bytes at {start} of {location[:200]!r}, which has {file.size}",
                where=where,
                hint="the file may be truncated: download or save it again",
            )
        return file, start

    def forget(self) -> None:
        """Let the system have back the memory of what was read; see `MappedFile.forget`."""
        if self._folder is not None:
            self._folder.forget()

    def _open(self, location: str, where: str) -> ByteFile:
        shown = location[:200]
        if self._model.path is None:
            raise CheckpointError(
                f"its values are in another file, {shown!r}",
                where=where,
                hint="download both files into one folder and open the model there",
            )
        if len(self._files) >= _MAX_FILES:
            raise UnsafeCheckpointError(f"the model names more than {_MAX_FILES:,} other files", where=where)
        try:
            if self._folder is None:
                self._folder = LocalFolder(self._model.path.parent)
            if self._folder.size(location) is None:
                raise CorruptCheckpointError(
                    f"the file that holds its values is missing: {shown!r}",
                    hint="put it into the model's folder, under this name",
                )
            return self._folder.open(location)
        except CheckpointError as error:
            where = f"{where}, in {shown!r}" if error.where else where
            raise type(error)(error.what, where=where, hint=error.hint) from error


def _number(said: Mapping[str, str], key: str, default: int, where: str) -> int:
    text = said.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise CorruptCheckpointError(f"the {key} of its values is {text[:40]!r}", where=where)
    return int(text)
