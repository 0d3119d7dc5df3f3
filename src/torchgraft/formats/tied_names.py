"""Names of tied tensors that a safetensors file stores once: `safetensors.torch.save_model` and transformers'
savers note in the header which name stands for which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torchgraft.tensors import TensorRef

__all__ = ["TIED_KEY", "tied_names"]

TIED_KEY = "torchgraft.tied"
"""The header entry that lists the other names of tied tensors, one a line."""


def tied_names(metadata: Mapping[str, object], tree: Mapping[str, object]) -> dict[str, TensorRef]:
    """Tensors under the other names that they had.

    Args:
        metadata: The header's texts. Those that name a tensor are such notes, as `head.weight: embed.weight`
            is, when both names end alike: a text may be a tensor's name by chance. `torchgraft.save` says in
            `TIED_KEY` which are.
        tree: The tensors that are stored, by name.
    """
    found = {}
    said = metadata.get(TIED_KEY)
    sure = set(said.split("\n")) if isinstance(said, str) else set()
    for name, kept in metadata.items():
        if isinstance(kept, str) and name not in tree and (name in sure or _last(name) == _last(kept)):
            ref = tree.get(kept)
            if isinstance(ref, TensorRef):
                found[name] = replace(ref, name=name)
    return found


def _last(name: str) -> str:
    return name.rpartition(".")[2]
