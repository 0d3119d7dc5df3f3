"""What a script does, one move for each tensor of the model: a name, and an expression over names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torchgraft.adapting.ops import Op, Shape
from torchgraft.planning.entries import SourceEntry, TargetEntry
from torchgraft.planning.plans import Plan
from torchgraft.planning.script_ops import spelled
from torchgraft.planning.script_scales import dequantising

__all__ = ["Move", "moves_of"]


@dataclass(frozen=True, slots=True)
class Move:
    """`target[…] = …`.

    Attributes:
        target: The model's name.
        sources: The checkpoint's names that it is made of, in the order of their slots.
        pattern: The expression's lines, with `\\0`, `\\1`, … for `source[name]`.
    """

    target: str
    sources: tuple[str, ...]
    pattern: tuple[str, ...]

    @property
    def plain(self) -> bool:
        """Whether it is one tensor, as it is."""
        return self.pattern == (slot(0),)


def slot(index: int) -> str:
    """What stands in a pattern for a source."""
    return f"\0{index}\1"


def moves_of(plan: Plan) -> tuple[list[Move], list[TargetEntry]]:
    """The moves, in the model's order, and the tensors that can't be made of the checkpoint alone."""
    stored = {entry.name: entry for entry in plan.sources}
    moves, left = [], []
    for entry in plan.targets:
        if entry.status == "fresh":
            continue
        move = _joined(entry, stored) if entry.joined else _single(entry, stored)
        if move is None:
            left.append(entry)
        else:
            moves.append(move)
    return moves, left


def _single(entry: TargetEntry, stored: Mapping[str, SourceEntry]) -> Move | None:
    assert entry.source is not None
    source = stored[entry.source]
    names, read = dequantising(source, stored, slot, 0)
    read = read[1:-1] if read.startswith("(") and not entry.ops else read
    text = _chain(entry.ops, read, source.shape, _dtype(source))
    return None if text is None else Move(entry.name, names, (text,))


def _dtype(source: SourceEntry) -> str:
    return source.dtype if source.scaling is None else "float32"


def _joined(entry: TargetEntry, stored: Mapping[str, SourceEntry]) -> Move | None:
    names: list[str] = []
    texts: list[str | None] = []
    for part in entry.joined:
        if part.source is None:
            texts.append(None)
            continue
        source = stored[part.source]
        taken, read = dequantising(source, stored, slot, len(names))
        text = _chain(part.ops, read, part.source_shape, _dtype(source))
        if text is None:
            return None
        names += taken
        texts.append(text)
    alike = {part.shape: text for part, text in zip(entry.joined, texts, strict=True) if text is not None}
    lines = [
        text
        or (f"torch.zeros_like({alike[part.shape]})" if part.shape in alike else _zeros(part.shape, entry))
        for part, text in zip(entry.joined, texts, strict=True)
    ]
    fused = (sum(part.shape[0] for part in entry.joined), *entry.joined[0].shape[1:])
    whole = _chain(entry.ops, "\2", fused, entry.dtype)
    if whole is None:
        return None
    before, _, after = whole.partition("\2")
    return Move(entry.name, tuple(names), (f"{before}torch.cat([", *lines, f"]){after}"))


def _zeros(shape: Shape, entry: TargetEntry) -> str:
    return f"torch.zeros({list(shape)}, dtype=torch.{entry.dtype})"


def _chain(ops: Sequence[Op], text: str, shape: Shape, dtype: str) -> str | None:
    for op in ops:
        made = spelled(op, text, shape, dtype)
        if made is None:
            return None
        text, shape = made, op.shape(shape)
    return text
