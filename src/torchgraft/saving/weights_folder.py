"""A folder of safetensors: one file, or several with an index, as Hugging Face's libraries write and read it.

Such a folder is replaced as a whole, in one step. Where that can't be done, because it holds other files too
or a disk is mounted there, the new weights are written beside the old ones, and one file's change of name
makes them the ones that count: `model.safetensors`, or the index, which names a folder of shards.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from torchgraft.errors import SaveError
from torchgraft.model_info import DESCRIPTION_KEY
from torchgraft.saving.file_sizes import divide
from torchgraft.saving.safetensors_file import SafetensorsFile
from torchgraft.saving.targets import make_folder
from torchgraft.saving.ties import tie_notes
from torchgraft.storage.atomic import as_save_errors, atomic_file, new_mode, write_text_atomic
from torchgraft.storage.atomic_folder import atomic_folder, can_replace, sync_tree
from torchgraft.storage.temporaries import hold, new_file, new_folder, remove_if_dead, sweep
from torchgraft.tensors import TensorRef

__all__ = ["DESCRIPTION_FILE", "INDEX_FILE", "WEIGHTS_FILE", "WeightsFolder"]

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
DESCRIPTION_FILE = "torchgraft.json"

_WEIGHTS = re.compile(r"model(-\d{5,}-of-\d{5,})?\.safetensors|model\.safetensors\.index\.json")
_GENERATION = re.compile(r"weights-[0-9a-f]{8}")


class WeightsFolder:
    """What goes into such a folder.

    Args:
        tensors: By key.
        metadata: Texts for the header of each file.
        shard_size: How many bytes of tensors a file has at most; one tensor may have more. `None`: one file.
        description: What the model says of itself, for `torchgraft.json` and the header of the first file.
        tied: Other names of the tensors, see `tied_to`.
        where: The folder's name, for messages.

    Raises:
        SaveError: The format can't hold a tensor, a name or so long a header.
    """

    def __init__(
        self,
        tensors: Mapping[str, TensorRef],
        metadata: Mapping[str, str],
        shard_size: int | None,
        *,
        description: str | None = None,
        tied: Mapping[str, str] | None = None,
        where: str,
    ) -> None:
        groups = [dict(tensors)] if shard_size is None else divide(tensors, shard_size)
        count = len(groups)
        names = [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
        if count == 1:
            names = [WEIGHTS_FILE]
        self._places = {key: name for name, group in zip(names, groups, strict=True) for key in group}
        self._size = sum(ref.nbytes for ref in tensors.values())
        self._description = description
        self._files: dict[str, SafetensorsFile] = {}
        for name, group in zip(names, groups, strict=True):
            texts = {**metadata, **tie_notes(tied or {}, group)}
            if description is not None and not self._files:
                texts[DESCRIPTION_KEY] = description
            self._files[name] = SafetensorsFile(group, texts, where=f"{where}/{name}")

    def write(self, folder: Path, *, beside_others: bool) -> None:
        """Write it, whole or not at all.

        Args:
            folder: Where; made if it is absent.
            beside_others: Whether files of other names may be in it, and stay.

        Raises:
            SaveError: Nothing was written.
            CheckpointError: A tensor can't be read; nothing was written either.
        """
        make_folder(folder.parent)
        if folder.exists() and not folder.is_dir():
            raise SaveError("this is a file, not a folder", where=str(folder), hint="name another one")
        with as_save_errors(folder):
            others = folder.exists() and any(not self._is_mine(entry.name) for entry in folder.iterdir())
            alone = not others and can_replace(folder)
        if alone or (others and not beside_others):
            with atomic_folder(folder, mine=self._is_mine) as temporary:
                self._write_files(temporary)
                if len(self._files) > 1:
                    (temporary / INDEX_FILE).write_text(self._index(""), encoding="utf-8")
                if self._description is not None:
                    (temporary / DESCRIPTION_FILE).write_text(self._description + "\n", encoding="utf-8")
            return
        with as_save_errors(folder):
            self._write_beside(folder)

    def _write_beside(self, folder: Path) -> None:
        before = {entry.name for entry in folder.iterdir()}
        if len(self._files) == 1:
            (file,) = self._files.values()
            with ExitStack() as changing, atomic_file(folder / WEIGHTS_FILE) as stream:
                file.write(stream)
                changing.enter_context(_without_copy(folder))
            self._finish(folder, before - {WEIGHTS_FILE}, ())
            return
        sweep(folder / "weights")
        name = f"weights-{secrets.token_hex(4)}"
        made = new_folder(folder / "weights")
        try:
            with hold(made):  # also under its last name, until the index says it: nobody else removes it
                self._write_files(made)
                sync_tree(made)
                with suppress(PermissionError):  # some disks have no permissions
                    made.chmod(new_mode(0o777))
                made = made.rename(folder / name)
                with _without_copy(folder):
                    write_text_atomic(folder / INDEX_FILE, self._index(f"{name}/"))
                self._finish(folder, before - {INDEX_FILE}, (name,))
        except BaseException:
            if name not in _text(folder / INDEX_FILE):
                shutil.rmtree(made, ignore_errors=True)
            raise

    def _finish(self, folder: Path, before: set[str], kept: tuple[str, ...]) -> None:
        """Remove the old weights: until then, a single file counts before an index, and both are whole."""
        for name in sorted(before, key=lambda name: name != WEIGHTS_FILE):
            if _WEIGHTS.fullmatch(name):
                (folder / name).unlink(missing_ok=True)
            elif _GENERATION.fullmatch(name) and name not in kept:
                remove_if_dead(folder / name)
        if self._description is not None:
            write_text_atomic(folder / DESCRIPTION_FILE, self._description + "\n")

    def _write_files(self, folder: Path) -> None:
        for name, file in self._files.items():
            with (folder / name).open("wb") as stream:
                file.write(stream)

    def _index(self, within: str) -> str:
        index = {
            "metadata": {"total_size": self._size},
            "weight_map": {key: within + name for key, name in self._places.items()},
        }
        return json.dumps(index, indent=2) + "\n"

    def _is_mine(self, name: str) -> bool:
        described = self._description is not None and name == DESCRIPTION_FILE
        return described or _WEIGHTS.fullmatch(name) is not None


@contextmanager
def _without_copy(folder: Path) -> Iterator[None]:
    """While the weights change, their description's readable copy is away: it is never one of others."""
    path = folder / DESCRIPTION_FILE
    descriptor, aside = new_file(path)
    os.close(descriptor)
    moved = False
    try:
        with suppress(FileNotFoundError):
            path.replace(aside)
            moved = True
        yield
    except BaseException:
        if moved:
            aside.replace(path)
        raise
    finally:
        aside.unlink(missing_ok=True)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
