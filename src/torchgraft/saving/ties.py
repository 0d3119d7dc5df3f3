"""Tied tensors in safetensors, which has none: stored once, and the header says what else they are called.

The notes are those of `safetensors.torch.save_model`: `{"head.weight": "embed.weight"}`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import nn

from torchgraft.formats.tied_names import TIED_KEY
from torchgraft.tensors import TensorRef

__all__ = ["tie_notes", "tied_parameters", "tied_to"]


def tied_to(tensors: Mapping[str, TensorRef], reserved: Collection[str]) -> dict[str, str]:
    """Which names stand for a tensor that has another name before them.

    Args:
        tensors: By key.
        reserved: Keys that the header needs for something else; such a name can't be noted there.
    """
    first: dict[str, str] = {}
    found = {}
    for key, ref in tensors.items():
        if ref.alias is None:
            continue
        kept = first.setdefault(ref.alias, key)
        if kept != key and key not in reserved and key != TIED_KEY and "\n" not in key:
            found[key] = kept
    return found


def tie_notes(tied: Mapping[str, str], stored: Mapping[str, TensorRef]) -> dict[str, str]:
    """Texts for the header of a file that holds these tensors."""
    here = {key: kept for key, kept in tied.items() if kept in stored}
    return {**here, TIED_KEY: "\n".join(here)} if here else {}


def tied_parameters(model: nn.Module) -> dict[str, str]:
    """The other names of the model's parameters, each with the first."""
    first: dict[int, str] = {}
    found = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        kept = first.setdefault(id(parameter), name)
        if kept != name:
            found[name] = kept
    return found
