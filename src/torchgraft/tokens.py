"""What the rows of a vocabulary's tables stand for: a list of tokens, from a tokenizer or its file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from torchgraft.errors import DataError

__all__ = ["HasVocabulary", "Tokens", "read_tokens"]


class HasVocabulary(Protocol):
    """A tokenizer of transformers or of tokenizers."""

    def get_vocab(self) -> Mapping[str, int]:
        """The row of each token, added tokens included."""
        ...


Tokens: TypeAlias = Sequence[str | None] | Mapping[str, int] | HasVocabulary | str | os.PathLike[str]
"""Tokens in the order of their rows, or each one's row, or a tokenizer, or the path of its file or folder."""

_FILES = ("tokenizer.json", "vocab.json", "vocab.txt")
_MAX_BYTES = 128 << 20  # Gemma's tokenizer.json, of 262,144 tokens, has 33 MB
_MAX_VALUES = 8_000_000  # most are the merges'
_MAX_ROWS = 10_000_000
_HINT = "give a tokenizer.json, a vocab.json, a vocab.txt of a token a line, or a list of tokens"


def read_tokens(tokens: Tokens) -> tuple[str | None, ...]:
    """The token of each row; `None` for a row that no token has.

    Of a `tokenizer.json` (Hugging Face tokenizers: WordPiece, BPE, Unigram, WordLevel) the model's
    vocabulary and the added tokens count. Nothing in a file is run.

    Raises:
        DataError: The file can't be read or is none of these, or two tokens have the same row.
    """
    if isinstance(tokens, (str, os.PathLike)):
        return _from_file(Path(tokens))
    try:
        if isinstance(tokens, Mapping):
            return _in_rows(tokens)
        vocabulary = getattr(tokens, "get_vocab", None)
        if callable(vocabulary):
            return _in_rows(vocabulary())
        return _listed(tokens)
    except (TypeError, ValueError) as error:
        raise DataError(f"these are not a vocabulary's tokens: {error}", hint=_HINT) from error


def _from_file(path: Path) -> tuple[str | None, ...]:
    if path.is_dir():
        there = [path / name for name in _FILES if (path / name).is_file()]
        if not there:
            raise DataError(f"holds none of {', '.join(_FILES)}", where=str(path), hint=_HINT)
        path = there[0]
    try:
        if not path.is_file():
            raise ValueError("it is not a file" if path.exists() else "there is no such file")
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ValueError(f"it has {size:,} bytes, the limit is {_MAX_BYTES:,}")
        text = path.read_text("utf-8-sig")
        tokens = _from_json(_parsed(text)) if text.lstrip()[:1] in ("{", "[") and _is_json(path) else None
        tokens = tuple(_lines(text)) if tokens is None else tokens
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"a vocabulary can't be read: {error}", where=str(path), hint=_HINT) from error
    if not tokens:
        raise DataError("holds no tokens", where=str(path), hint=_HINT)
    return tokens


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"  # in a vocab.txt the first token may well be a bracket


def _lines(text: str) -> list[str]:
    """A token a line. Only line feeds end one: a vocabulary holds other separators as tokens."""
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines and not lines[-1] else lines


def _parsed(text: str) -> Any:
    if text.count(",") + text.count("[") + text.count("{") > _MAX_VALUES:
        raise ValueError(f"it holds more than {_MAX_VALUES:,} values")
    return json.loads(text)


def _from_json(data: Any) -> tuple[str | None, ...]:
    if isinstance(data, list):
        return _listed(data)
    if not isinstance(data.get("model"), dict):
        return _in_rows(data)
    vocabulary = data["model"]["vocab"]
    if isinstance(vocabulary, list):  # Unigram: pairs of a token and its score, in the order of the rows
        vocabulary = {_text(entry[0]): row for row, entry in enumerate(vocabulary)}
    added = {_text(entry["content"]): _row(entry["id"]) for entry in data.get("added_tokens") or ()}
    return _in_rows({**vocabulary, **added})


def _listed(tokens: Any) -> tuple[str | None, ...]:
    listed = tuple(token if token is None else _text(token) for token in tokens)
    if not listed:
        raise ValueError("there are none")
    return listed


def _in_rows(vocabulary: Mapping[str, int]) -> tuple[str | None, ...]:
    if not vocabulary:
        raise ValueError("there are none")
    last = max(map(_row, vocabulary.values()))
    rows: list[str | None] = [None] * (last + 1)
    for token, row in vocabulary.items():
        before = rows[row]
        if before is not None:
            raise ValueError(f"{before!r} and {token!r} both have row {row}")
        rows[row] = _text(token)
    return tuple(rows)


def _row(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_ROWS:
        raise ValueError(f"{value!r} is no row's number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no token")
    return value
