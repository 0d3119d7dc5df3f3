"""Weights that are fused, taken apart: `qkv` into `q`, `k` and `v`, where the name says what is in it.

Both sides are taken apart, so that a fused and a split form, or two fused ones, meet in their parts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from torchgraft.adapting import Block
from torchgraft.matching.pieces import Piece

__all__ = ["parts", "without_key_biases"]

_SPELLED = re.compile(
    r"(?P<before>(?:.*?(?<![a-z]))?w?)(?P<fused>query_key_value|key_value|qkv|kv|gate_up)(?![a-z])(?P<after>.*)",
    re.IGNORECASE | re.DOTALL,
)
_WORDS: dict[str, tuple[str, ...]] = {
    "query_key_value": ("query", "key", "value"),
    "key_value": ("key", "value"),
    "qkv": ("q", "k", "v"),
    "kv": ("k", "v"),
    "gate_up": ("gate", "up"),
}
_BY_CONTRACT: dict[str, tuple[str, ...]] = {"in_proj": ("q", "k", "v"), "c_attn": ("q", "k", "v")}
"""Names that spell nothing out, but whose order is documented: by `torch.nn.MultiheadAttention`, by GPT-2."""


_KEY = re.compile(r"(?:.*_)?w?(k|key)(_.*)?", re.IGNORECASE)

_MIXED = "query_key_value"
"""ChatGLM's lies in three blocks, as the other forms do; BLOOM's, Falcon's and GPT-NeoX's go head by head."""


def parts(pieces: Sequence[Piece], others: Sequence[Piece], told: Mapping[str, str]) -> list[Piece]:
    """The pieces, with each fused one in its place by its parts.

    Args:
        pieces: One side's.
        others: The other side's: where the parts differ in size (grouped queries), theirs say how.
        told: What the user says is fused, by a component of the name: `{"fc1": "gate+up"}`.
    """
    taken = {piece.name for piece in pieces}
    sizes = _sizes(others)
    found: list[Piece] = []
    for piece in pieces:
        split = list(_split(piece, sizes, told))
        found += split if split and taken.isdisjoint(part.name for part in split) else [piece]
    return found


def without_key_biases(fused: Sequence[Piece], others: Sequence[Piece]) -> list[Piece]:
    """The pieces without the keys' part of fused biases, if no key of the other side has a bias.

    Two layers of which only one has a bias would not be taken for the same. `folding` makes that part zeros.
    """
    leaves: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for piece in others:
        leaves[piece.path].add(piece.leaf)
    keys = [of for path, of in leaves.items() if path and _KEY.fullmatch(path[-1]) and "weight" in of]
    if not keys or any("bias" in of for of in keys):
        return list(fused)
    return [piece for piece in fused if not (piece.of > 1 and piece.word == "k" and len(piece.shape) == 1)]


def _split(
    piece: Piece, sizes: Mapping[tuple[str, ...], set[tuple[int, ...]]], told: Mapping[str, str]
) -> Iterator[Piece]:
    named = _renamed(piece.path, told)
    if named is None or not piece.shape:
        return
    words, paths = named
    rows = _rows(piece.shape[0], words, sizes)
    start = 0
    for place, (word, path, size) in enumerate(zip(words, paths, rows, strict=False)):
        yield replace(
            piece,
            name=".".join(filter(None, (*path, piece.leaf))),
            path=path,
            shape=(size, *piece.shape[1:]),
            rows=Block(start, start + size, piece.shape[0]),
            place=place,
            of=len(words),
            word=word[0],
            doubtful=piece.path[-1] == _MIXED and _MIXED not in told,
        )
        start += size


def _renamed(
    path: tuple[str, ...], told: Mapping[str, str]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]] | None:
    """What is fused in a tensor of this path, and what the paths of its parts would be."""
    for at in range(len(path) - 1, max(len(path) - 3, -1), -1):
        if path[at] in told:
            words = _WORDS.get(told[path[at]], tuple(told[path[at]].split("+")))
            spelled = words
        elif path[at] in _BY_CONTRACT:
            words = _BY_CONTRACT[path[at]]
            spelled = words
        elif match := _SPELLED.fullmatch(path[at]):
            words = _WORDS[match["fused"].lower()]
            spelled = tuple(match["before"] + word + match["after"] for word in words)
        else:
            continue
        return words, [(*path[:at], word, *path[at + 1 :]) for word in spelled]
    return None


def _rows(
    total: int, words: tuple[str, ...], sizes: Mapping[tuple[str, ...], set[tuple[int, ...]]]
) -> tuple[int, ...]:
    letters = tuple(word[0] for word in words)
    fitting = {rows for rows in sizes.get(letters, ()) if sum(rows) == total}
    if len(fitting) == 1:
        return fitting.pop()
    return () if total % len(words) or not total else (total // len(words),) * len(words)


def _sizes(others: Sequence[Piece]) -> dict[tuple[str, ...], set[tuple[int, ...]]]:
    """How many rows the siblings `q`, `k`, `v` (and so on) of the other side have, by their first letters."""
    siblings: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for tensor in others:
        *path, last = tensor.path or ("",)
        match = re.match(r"(?:.*_)?(q|k|v|query|key|value|gate|up)(?![a-z])", last, re.IGNORECASE)
        if match and tensor.shape and tensor.leaf == "weight":
            letter = match[1][0].lower()
            siblings[".".join(path), last[: match.start(1)] + last[match.end(1) :]][letter] = tensor.shape[0]
    found: dict[tuple[str, ...], set[tuple[int, ...]]] = defaultdict(set)
    for rows in siblings.values():
        for letters in (("q", "k", "v"), ("k", "v"), ("g", "u")):
            if rows.keys() >= set(letters):
                found[letters].add(tuple(rows[letter] for letter in letters))
    return found
