"""What torch.distributed.checkpoint's `HuggingFaceStorageWriter(save_distributed=True)` writes: each rank's
pieces in a safetensors file `shard-<rank>-model-….safetensors`, whose header says where they belong.

Neither the tensors' whole shapes nor the number of ranks is written: a shape is what the pieces fill, and a
missing last rank shows only where its pieces leave a hole.
"""

from __future__ import annotations

import functools
import re

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats.chunked_tensor import Chunk, TilingCheck, chunked_tensor
from torchgraft.formats.container import Container, FolderFormat, OpenFile
from torchgraft.formats.strict_json import parse_json_table
from torchgraft.storage.folder import Folder, at_once
from torchgraft.tensors import TensorRef

__all__ = ["DISTRIBUTED_SAFETENSORS"]

_NAME = re.compile(r"shard-(\d{5})-.+\.safetensors")
_INFO = "DCP_SHARDING_INFO"
_MAX_FILES = 10_000  # a process may map 65,530


def _recognise(folder: Folder) -> bool:
    return any(_NAME.fullmatch(name) for name in folder.files)


def _read(folder: Folder, open_file: OpenFile) -> Container:
    found = [match for name in folder.files if (match := _NAME.fullmatch(name))]
    ranks = {int(match[1]) for match in found}
    if ranks != set(range(1, len(ranks) + 1)) or len(found) > _MAX_FILES:
        gap = next(number for number in range(1, len(ranks) + 2) if number not in ranks)
        raise CorruptCheckpointError(
            f"the file of rank {gap} (shard-{gap:05}-…) is missing",
            where=folder.name,
            hint="copy or download the whole folder again; each rank has files of its own",
        )
    pieces: dict[str, list[tuple[Chunk, str]]] = {}
    names = [match[0] for match in found]
    for container in at_once(folder, names, lambda name: open_file(folder.open(name))):
        for name, chunk, dtype in _pieces(container):
            pieces.setdefault(name, []).append((chunk, dtype))
    tiling = TilingCheck()
    tree: dict[str, object] = {}
    for name, parts in pieces.items():
        where = f"{folder.name}: {name[:200]}"
        chunks = [chunk for chunk, _ in parts]
        dtypes = {dtype for _, dtype in parts}
        if len(dtypes) > 1 or len({len(chunk.sizes) for chunk in chunks}) > 1:
            raise CorruptCheckpointError(
                "its pieces differ in dtype or number of dimensions",
                where=where,
                hint="the files are of different checkpoints: copy or save all of them again",
            )
        ends = [[start + size for start, size in zip(c.offsets, c.sizes, strict=True)] for c in chunks]
        shape = tuple(max(along) for along in zip(*ends, strict=True))
        tree[name] = chunked_tensor(name, dtypes.pop(), shape, chunks, tiling, where)
    return Container(folder.name, folder.path, "torch distributed safetensors", tree)


def _pieces(container: Container) -> list[tuple[str, Chunk, str]]:
    """Name, piece and dtype of all that a file holds."""
    info, tree = container.metadata.get(_INFO), container.tree
    if not isinstance(info, str) or not isinstance(tree, dict):
        raise CorruptCheckpointError(
            f"its header lacks {_INFO}, which says where its pieces belong",
            where=container.name,
            hint="it was not written by torch.distributed.checkpoint: rename it and open it alone",
        )
    places = parse_json_table(info.encode("utf-8", "surrogatepass"), f"{container.name}: {_INFO}")
    found = []
    for name, ref in tree.items():
        where = f"{container.name}: {name[:200]}"
        match places.get(name):
            case {"saved_offsets": list(offsets)} if (
                isinstance(ref, TensorRef)
                and len(offsets) == len(ref.shape)
                and all(type(start) is int and 0 <= start < 1 << 62 for start in offsets)
            ):
                chunk = Chunk(
                    tuple(offsets), ref.shape, ref.nbytes, where, functools.partial(_itself, ref), ref.spans
                )
                found.append((name, chunk, ref.dtype))
            case _:
                raise CorruptCheckpointError(f"{_INFO} does not say where this piece belongs", where=where)
    return found


def _itself(ref: TensorRef) -> TensorRef:
    return ref


DISTRIBUTED_SAFETENSORS = FolderFormat("torch distributed safetensors", _recognise, _read)
