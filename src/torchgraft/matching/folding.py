"""From pairs of pieces back to pairs of tensors: what was taken apart on the way is put together again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from torchgraft.adapting import Permuted, Reshaped
from torchgraft.adapting.ops import Op
from torchgraft.errors import AdaptError, AmbiguousMatchError
from torchgraft.matching.pieces import Piece
from torchgraft.matching.result import Pair, Part

__all__ = ["folded", "whole_pair"]


def folded(links: Sequence[tuple[Piece, Piece, str]], targets: Sequence[Piece]) -> list[Pair]:
    """Pairs of the tensors that the linked pieces (source, target, why) are of.

    A fused target needs all its parts; only a key's bias may be missing, which no attention depends on.

    Args:
        links: At most one for each target piece.
        targets: All pieces of the model, those without a partner included.
    """
    partner = {target.name: (source, why) for source, target, why in links}
    whole: dict[str, list[Piece]] = defaultdict(list)
    for target in targets:
        whole[target.origin].append(target)
    pairs = (_pair(pieces, partner) for pieces in whole.values())
    return [pair for pair in pairs if pair is not None]


def whole_pair(source: Piece, target: Piece, why: str) -> Pair:
    """The pair of two whole tensors."""
    return Pair(source.origin, target.origin, why, _merged((*source.ops, *_undone(target.ops))))


def _pair(pieces: Sequence[Piece], partner: Mapping[str, tuple[Piece, str]]) -> Pair | None:
    found = [(target, *partner[target.name]) for target in pieces if target.name in partner]
    if not found:
        return None
    target, first, why = found[0]
    after = _undone(target.ops)
    origins = {source.origin for _, source, _ in found}
    alike = all((source.place, source.of) == (piece.place, piece.of) for piece, source, _ in found)
    if len(pieces) == 1 or (len(found) == len(pieces) and len(origins) == 1 and alike):
        if len(pieces) == 1 and first.of > 1:
            _refuse_doubtful([first])
        steps = first.steps if len(pieces) == 1 else first.ops
        return Pair(first.origin, target.origin, why, _merged((*steps, *after)))
    _refuse_doubtful([*pieces, *(source for _, source, _ in found)])
    parts = [_part(piece, partner.get(piece.name)) for piece in pieces]
    joined = tuple(part for part in parts if part is not None)
    return Pair(first.origin, target.origin, why, after, joined) if len(joined) == len(parts) else None


def _refuse_doubtful(pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        if piece.doubtful:
            raise AmbiguousMatchError(
                f"{piece.origin!r} may hold queries, keys and values in three blocks (as ChatGLM does) or "
                "head by head (as BLOOM, Falcon and GPT-NeoX do)",
                hint='if they are in blocks: fused={"query_key_value": "qkv"} (--fused query_key_value=qkv); '
                "if not, bring them into blocks first",
            )


def _part(target: Piece, found: tuple[Piece, str] | None) -> Part | None:
    if found is None:
        absent = target.word == "k" and len(target.shape) == 1
        return Part(None, (), (), target.shape) if absent else None
    source = found[0]
    steps = source.steps
    if source.shape != target.shape:
        try:
            steps = (*steps, Reshaped(source.shape, target.shape))
        except AdaptError:
            return None
    return Part(source.origin, _merged(steps), source.whole, target.shape)


def _undone(ops: Sequence[Op]) -> tuple[Op, ...]:
    """The way back from PyTorch's usual layout to the target's."""
    return tuple(op.inverse for op in reversed(ops) if isinstance(op, Permuted | Reshaped))


def _merged(ops: Sequence[Op]) -> tuple[Op, ...]:
    """The steps without neighbours that undo each other."""
    kept: list[Op] = []
    for op in ops:
        if kept and isinstance(op, Permuted | Reshaped) and kept[-1] == op.inverse:
            kept.pop()
        else:
            kept.append(op)
    return tuple(kept)
