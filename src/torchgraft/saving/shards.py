"""Safetensors in several files with an index, as Hugging Face's libraries write and read them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from torchgraft.saving.file_sizes import divide
from torchgraft.saving.safetensors_file import SafetensorsFile
from torchgraft.storage.atomic_folder import atomic_folder
from torchgraft.tensors import TensorRef

__all__ = ["write_shards"]

_MINE = re.compile(r"model(-\d{5,}-of-\d{5,})?\.safetensors|model\.safetensors\.index\.json")


def write_shards(
    tensors: Mapping[str, TensorRef], metadata: Mapping[str, str], folder: Path, shard_size: int | None
) -> None:
    """Write a folder: `model-00001-of-00003.safetensors`, …, and `model.safetensors.index.json`.

    Where one file is enough, it is `model.safetensors` alone. A folder that such files were written to is
    replaced as a whole.

    Args:
        tensors: By key.
        metadata: Texts for the header of each file.
        folder: Where they go.
        shard_size: How many bytes of tensors a file has at most; one tensor may have more.

    Raises:
        SaveError: Nothing was written.
        CheckpointError: A tensor can't be read; nothing was written either.
    """
    groups = [dict(tensors)] if shard_size is None else divide(tensors, shard_size)
    count = len(groups)
    names = [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    if count == 1:
        names = ["model.safetensors"]
    files = [
        SafetensorsFile(group, metadata, where=str(folder / name))
        for name, group in zip(names, groups, strict=True)
    ]
    with atomic_folder(folder, mine=lambda name: _MINE.fullmatch(name) is not None) as temporary:
        for name, file in zip(names, files, strict=True):
            with (temporary / name).open("wb") as stream:
                file.write(stream)
        if count > 1:
            index = {
                "metadata": {"total_size": sum(ref.nbytes for ref in tensors.values())},
                "weight_map": {key: name for name, group in zip(names, groups, strict=True) for key in group},
            }
            text = json.dumps(index, indent=2) + "\n"
            (temporary / "model.safetensors.index.json").write_text(text, encoding="utf-8")
