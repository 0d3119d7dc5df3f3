"""The index of a checkpoint in shards: a JSON text that says which file holds which tensor.

Written by transformers, diffusers, huggingface_hub, accelerate and torch.distributed.checkpoint:
`{"metadata": {"total_size": …}, "weight_map": {"name": "model-00001-of-00002.safetensors", …}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats.strict_json import read_json_table
from torchgraft.storage.byte_file import ByteFile

__all__ = ["ShardIndex", "is_shard_index", "read_shard_index"]

_MAX_BYTES = 24 << 20


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """What an index says.

    Attributes:
        name: Its path or address, for messages.
        places: The file that holds each tensor, in the index's order.
        metadata: What it says beside that, such as `total_size`.
    """

    name: str
    places: Mapping[str, str]
    metadata: Mapping[str, object]


def is_shard_index(head: bytes) -> bool:
    """Whether a file that begins so claims to be an index."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"weight_map"' in head


def read_shard_index(file: ByteFile) -> ShardIndex:
    """Read an index.

    Raises:
        CorruptCheckpointError: It is no JSON, or does not name a file for each of its tensors.
        UnsafeCheckpointError: It is too large.
    """
    table = read_json_table(file, max_bytes=_MAX_BYTES)
    places = table.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CorruptCheckpointError(
            'its "weight_map" is not a table of tensors and files',
            where=file.name,
            hint="open a shard itself",
        )
    for key, place in places.items():
        if not isinstance(place, str) or not place:
            raise CorruptCheckpointError(
                "the index names no file for this tensor", where=f"{file.name}: {key[:200]}"
            )
    metadata = table.get("metadata", {})
    return ShardIndex(file.name, places, metadata if isinstance(metadata, dict) else {"metadata": metadata})
