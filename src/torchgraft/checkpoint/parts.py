"""Sets of tensors in a file, and what each looks like: weights, a copy of them, or an optimizer's state."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from operator import attrgetter
from typing import Literal, TypeAlias

from torchgraft.tensors import TensorRef

__all__ = ["OPTIMIZERS", "Kind", "Part", "TensorSet", "classify"]

Kind: TypeAlias = Literal["weights", "copy", "per-parameter state", "other"]

_COPY_WORDS = ("ema", "swa", "averag", "shadow", "teacher")
"""Words in a path that tell which of two equal sets is the copy; which sets are equal, shapes tell."""


OPTIMIZERS = ("optimizer", "optimizer_weights")
"""What Keras calls the flat list of an optimizer's variables, whose shapes may be those of the weights."""


@dataclass(frozen=True, slots=True)
class TensorSet:
    """Tensors that belong together.

    Attributes:
        path: Where in the file they are; empty for its root.
        tensors: By key, in the file's order.
        per_parameter: Whether it is the same few values for each of many parameters.
    """

    path: str
    tensors: Mapping[str, TensorRef]
    per_parameter: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What a set of tensors in the file is.

    Attributes:
        name: Its path in the file, which `select=` takes; empty for the file's root.
        kind: What it looks like.
        why: What makes it look so, in a few words.
        tensors: How many it has.
        numel: How many elements they have together.
        dtypes: How many tensors there are of each dtype.
    """

    name: str
    kind: Kind
    why: str
    tensors: int
    numel: int
    dtypes: Mapping[str, int]


def classify(sets: list[TensorSet]) -> list[Part]:
    """Say of each set what it looks like, by its shapes and dtypes.

    Names are asked only which of two sets of equal keys and shapes is the copy.
    """
    parts = [_alone(found) for found in sets]
    if sum(part.kind == "weights" for part in parts) < 2:
        return parts
    originals: dict[frozenset[tuple[str, tuple[int, ...]]], list[int]] = {}
    for index, (part, found) in enumerate(zip(parts, sets, strict=True)):
        if part.kind == "weights":
            originals.setdefault(_form(found), []).append(index)
    for twins in originals.values():
        raw = [index for index in twins if not _sounds_like_a_copy(parts[index].name)]
        if len(twins) < 2 or len(raw) != 1:
            continue  # a single set; or nothing tells the copy, and the user is asked
        for index in twins:
            if index not in raw:
                why = f"the keys and shapes of {parts[raw[0]].name or 'the root'} again"
                parts[index] = replace(parts[index], kind="copy", why=why)
    return parts


def _alone(found: TensorSet) -> Part:
    refs = found.tensors.values()
    kind: Kind = "other"
    if found.per_parameter:
        kind, why = (
            "per-parameter state",
            "the same few values for each of many parameters, as an optimizer keeps",
        )
    elif found.path.rpartition(".")[2] in OPTIMIZERS:
        kind, why = "per-parameter state", "the file keeps it as its optimizer's"
    elif not any(ref.dtype.startswith(("float", "bfloat", "complex", "q")) and ref.shape for ref in refs):
        why = "no floating-point tensor with a dimension: counters or random states"
    else:
        kind, why = "weights", "named floating-point tensors"
    return Part(
        name=found.path,
        kind=kind,
        why=why,
        tensors=len(found.tensors),
        numel=sum(map(prod, map(attrgetter("shape"), refs))),
        dtypes=dict(Counter(map(attrgetter("dtype"), refs))),
    )


def _form(found: TensorSet) -> frozenset[tuple[str, tuple[int, ...]]]:
    """Keys and shapes, less the first segments that all keys share (`module.backbone.`) and counters."""
    keys = [key for key, ref in found.tensors.items() if ref.shape]
    shared = os.path.commonprefix(keys)  # noqa: RUF071 (letter by letter; the cut is at a dot)
    cut = shared.rfind(".") + 1
    return frozenset((key[cut:], found.tensors[key].shape) for key in keys)


def _sounds_like_a_copy(path: str) -> bool:
    return any(word in path.lower() for word in _COPY_WORDS)
