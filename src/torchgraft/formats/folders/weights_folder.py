"""A folder that somebody's `save` wrote: one file of weights, or shards with an index, and what lies beside.

transformers, its Trainer, diffusers, accelerate, timm, sentence-transformers, PEFT and torchgraft write such
folders. What is not weights is listed with its size and not opened.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from torchgraft.errors import CheckpointError, NoWeightsError
from torchgraft.formats.container import Container, FolderFormat, OpenFile
from torchgraft.formats.folders.shard_index import read_shard_index
from torchgraft.formats.folders.shards import read_indexed_shards, read_numbered_shards, shard_group
from torchgraft.formats.gguf.split import is_split, read_split
from torchgraft.formats.keras.shards import is_keras_index, read_keras_index, read_keras_shards
from torchgraft.formats.strict_json import read_json_table
from torchgraft.storage.folder import Folder

__all__ = ["WEIGHTS_FOLDER"]

_TORCH = re.compile(r".+\.(safetensors|bin|pt|pth|ckpt)", re.IGNORECASE)
_TORCH_INDEX = re.compile(r".+\.(safetensors|bin)\.index(\.\w+)?\.json", re.IGNORECASE)
_OTHER = re.compile(r".+\.(gguf|onnx|h5|keras|npz)", re.IGNORECASE)
_OTHER_INDEX = re.compile(r".+\.(index|weights)\.json", re.IGNORECASE)
"""Asked only in a folder without the first two: repositories often hold their model in several formats."""

_TRAINING_STATE = re.compile(
    r"(training_args|optimizer|scheduler|scaler|sampler|random_states|rng_state|custom_checkpoint|dl_state_dict)"
    r"(_\d+)*\.\w+"
)
"""What the Trainer and accelerate keep beside the weights, under the same endings."""

_ADAPTER = re.compile(r"adapter_model\.\w+")
_ADAPTER_CONFIG = "adapter_config.json"
_MAX_CONFIG = 1 << 20
_HEAD = 4096
_SHOWN = 8
_MAX_TOGETHER = 16
_MAX_LISTED = 200


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Files that are one checkpoint: how they are shown, which to open, all of them, what opens them."""

    shown: str
    file: str
    files: Collection[str]
    read: Callable[[], Container]


def _recognise(folder: Folder) -> bool:
    return any(_is_candidate(name) for name in folder.files)


def _is_candidate(name: str) -> bool:
    kinds = (_TORCH, _TORCH_INDEX, _OTHER, _OTHER_INDEX)
    return any(kind.fullmatch(name) for kind in kinds) and not _TRAINING_STATE.fullmatch(name)


def _read(folder: Folder, open_file: OpenFile) -> Container:
    candidates = _all_candidates(folder, open_file)
    first = candidates[0]
    if len(candidates) > 1:
        shown = ", ".join(candidate.shown for candidate in candidates[:_SHOWN])
        more = f", … ({len(candidates)} in all)" if len(candidates) > _SHOWN else ""
        place = folder.path / first.file if folder.path else f"{folder.name}/{first.file}"
        raise NoWeightsError(
            f"this folder holds {len(candidates)} checkpoints, and nothing says which is meant: "
            f"{shown}{more}",
            where=folder.name,
            hint=f"open one of them: {place}; or choose it here: select={first.file!r}",
        )
    container = first.read()
    metadata = {**container.metadata, **_adapter_config(folder, first.file)}
    if others := [name for name in folder.files if name != first.file and name not in first.files]:
        metadata["other files"] = _sizes(folder, others)
    return replace(container, metadata=metadata)


def _read_together(folder: Folder, open_file: OpenFile) -> Container:
    """All checkpoints of a folder, each under its file's name, for the user to choose among."""
    candidates = _all_candidates(folder, open_file)
    if len(candidates) == 1 or len(candidates) > _MAX_TOGETHER:
        return _read(folder, open_file)
    tree: dict[str, object] = {}
    for candidate in candidates:
        try:
            tree[candidate.file] = candidate.read().tree
        except CheckpointError as error:
            tree[candidate.file] = f"can't be opened: {error.what}"
    used = {name for candidate in candidates for name in (candidate.file, *candidate.files)}
    others = [name for name in folder.files if name not in used]
    metadata: dict[str, object] = {"other files": _sizes(folder, others)} if others else {}
    return Container(folder.name, folder.path, "folder of weights", tree, metadata)


def _all_candidates(folder: Folder, open_file: OpenFile) -> list[_Candidate]:
    names = [name for name in folder.files if _is_candidate(name)]
    candidates = _candidates(folder, open_file, names, _TORCH, _TORCH_INDEX)
    return candidates or _candidates(folder, open_file, names, _OTHER, _OTHER_INDEX)


def _candidates(
    folder: Folder,
    open_file: OpenFile,
    names: Collection[str],
    weights: re.Pattern[str],
    index: re.Pattern[str],
) -> list[_Candidate]:
    """Each index with its shards; then shards without an index; then each file that is neither."""
    found: list[_Candidate] = []
    covered: set[object] = set()
    for name in filter(index.fullmatch, names):
        candidate = _indexed(folder, open_file, name)
        covered.update(shard_group(file) or file for file in candidate.files)
        found.append(candidate)
    groups: dict[object, list[str]] = {}
    for name in filter(weights.fullmatch, names):
        # A shard that the index's files lack is the index's to complain of, not a second checkpoint.
        if name not in covered and (group := shard_group(name) or name) not in covered:
            groups.setdefault(group, []).append(name)
    for key, files in groups.items():
        found.append(
            _single(folder, open_file, key) if key == files[0] else _numbered(folder, open_file, files)
        )
    return found


def _indexed(folder: Folder, open_file: OpenFile, name: str) -> _Candidate:
    file = folder.open(name)
    if is_keras_index(bytes(file.view(0, min(_HEAD, file.size)))):
        groups = read_keras_index(file)
        files = {shard for shards in groups.values() for shard in shards}
        read = functools.partial(read_keras_shards, groups, folder, name=folder.name, path=folder.path)
    else:
        index = read_shard_index(file)
        files = set(index.places.values())
        read = functools.partial(
            read_indexed_shards, index, folder, open_file, name=folder.name, path=folder.path
        )
    return _Candidate(f"{name} ({len(files)} files)", name, files, read)


def _numbered(folder: Folder, open_file: OpenFile, files: list[str]) -> _Candidate:
    def read() -> Container:
        if files[0].lower().endswith(".gguf"):
            return _read_one(
                folder, open_file, files[0], lambda: read_numbered_shards(files, folder, open_file)
            )
        return read_numbered_shards(files, folder, open_file)

    return _Candidate(f"{files[0]} ({len(files)} files without an index)", files[0], files, read)


def _single(folder: Folder, open_file: OpenFile, name: str) -> _Candidate:
    def read() -> Container:
        return _read_one(folder, open_file, name, None)

    return _Candidate(name, name, (name,), read)


def _read_one(
    folder: Folder, open_file: OpenFile, name: str, others: Callable[[], Container] | None
) -> Container:
    """A file, with those beside it if it says that it is one of several; if not, what `others` gives."""
    container = open_file(folder.open(name))
    if is_split(container):
        whole = read_split(container, name, lambda: folder, open_file)
        return replace(whole, name=folder.name, path=folder.path)
    return others() if others else container


def _adapter_config(folder: Folder, file: str) -> Mapping[str, object]:
    """What a PEFT adapter is an adapter of, and how it is made."""
    if not _ADAPTER.fullmatch(file) or _ADAPTER_CONFIG not in folder.files:
        return {}
    config = read_json_table(folder.open(_ADAPTER_CONFIG), max_bytes=_MAX_CONFIG)
    return {"adapter_config": config}


def _sizes(folder: Folder, names: list[str]) -> dict[str, object]:
    sizes: dict[str, object] = {name: folder.size(name) for name in names[:_MAX_LISTED]}
    if len(names) > _MAX_LISTED:
        sizes["…"] = f"{len(names) - _MAX_LISTED:,} more"
    return sizes


WEIGHTS_FOLDER = FolderFormat("folder of weights", _recognise, _read, read_together=_read_together)
