"""safetensors files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from corpus.items import Bad, Item, Odd, Site, Values, file
from corpus.zip_pickles import all_dtypes


def raw(header: Any, body: int | bytes = 8, length: int | None = None) -> bytes:
    """A file by hand; a body is given by its size."""
    if isinstance(header, dict):
        header = json.dumps(header)
    text = header.encode() if isinstance(header, str) else header
    size = len(text) if length is None else length
    return size.to_bytes(8, "little") + text + (bytes(body) if isinstance(body, int) else body)


def entry(dtype: Any = "F32", shape: Any = (2,), place: Any = (0, 8), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(place), **more}


HOLE, OVERLAP = {"a": entry(), "b": entry(place=(9, 17))}, {"a": entry(), "b": entry(place=(4, 12))}
MANY = {f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(50_000)}
LIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "too few bytes": (raw({"a": entry(place=(0, 4))}, 4), ("x: a",)),
    "backwards": (raw({"a": entry(place=(8, 0))}), ("x: a",)),
    "negative": (raw({"a": entry(place=(-8, 0))}), ("x: a",)),
    "a hole at the start": (raw({"a": entry(place=(8, 16))}, 16), ("x: a", "hole at 0")),
    "a hole": (raw(HOLE, 17), ("x: b", "hole at 8")),
    "overlap": (raw(OVERLAP, 12), ("x: b", "overlap")),
    "the same bytes twice": (raw({"a": entry(), "b": entry()}), ("x: b", "overlap")),
    "more bytes than tensors": (raw({"a": entry()}, 9), ("9",)),
    "truncated": (raw({"a": entry()}, 7), ("7",)),
    "a huge shape": (raw({"a": entry(shape=(2**61, 2**61))}), ("x: a",)),
    "huge and empty": (raw({"a": entry(shape=(2**61, 2**61, 0), place=(0, 0))}, 0), ("x: a", "impossible")),
    "a negative shape": (raw({"a": entry(shape=(-1, -2))}), ("x: a",)),
    "a fractional shape": (raw({"a": entry(shape=(2.0,))}), ("x: a",)),
    "a truth value as shape": (raw({"a": entry(shape=(True, 2))}), ("x: a",)),
    "66 dimensions": (raw({"a": entry(shape=[1] * 65 + [2])}), ("x: a", "don't agree")),
    "an unknown dtype": (raw({"a": entry(dtype="F33")}), ("x: a", "F33")),
    "a dtype of another width": (raw({"a": entry(dtype="F64")}), ("x: a",)),
    "a dtype that is a number": (raw({"a": entry(dtype=3)}), ("x: a",)),
    "no place": (raw({"a": {"dtype": "F32", "shape": [2]}}), ("x: a",)),
    "an entry that is a number": (raw({"a": 3}, 0), ("x: a",)),
    "metadata that is no text": (raw({"__metadata__": {"a": 1}, "a": entry()}), ("__metadata__",)),
    "a key twice": (raw('{"a": 1, "a": 2}', 0), ("'a'", "twice")),
    "a deep header": (raw('{"a":' + "[" * 100_000, 0), ("JSON",)),
    "a number of ten thousand digits": (raw('{"a": ' + "9" * 10_000 + "}", 0), ("4300 digits",)),
    "half a header": (raw("{", 0), ("header can't be read",)),
    "a header that is no text": (raw(b"{\xff\xfe}", 0), ("'utf-8'",)),
    "a name of half a character": (raw('{"\\ud800": {"dtype": "F32"}}', 0), ("x: \\ud800",)),
    "a header beyond the file": (raw({"a": entry()}, 8, 1000), ("1000 bytes",)),
    "a header of 512 GB": (raw({"a": entry()}, 8, (1 << 39) - 1), ("header",)),
    "an infinite size": (raw('{"a": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 8]}}'),
        ("x: a", "don't agree")),
    "a header of lists": (raw('{"a": [' + "[]," * 4_000_000 + "1]}", 0), ("more values than tensors",)),
    "a header with a wide letter": (
        raw('{"a": "\U0001f600' + "x" * 20_000_000 + '"}', 0), ("letters beyond ASCII",),
    ),
    "a wide letter in less": (raw('{"a": "\U0001f600' + "x" * 10_000_000 + '"}', 0), ("x: a",)),
    "nothing but a header's length": (raw("{", 0, 1 << 20), ("1048576 bytes",)),
    "50,000 and two that share a place they may not": (
        raw(MANY | {"x": entry(place=(0, 8)), "y": entry(place=(0, 8))}), ("y",),
    ),
}  # fmt: skip


def odd(name: str, tensors: Callable[[], dict[str, torch.Tensor]], **more: Any) -> Odd:
    def write(site: Site) -> tuple[Path, Values]:
        path = site.write(save(tensors(), **more))
        return path, load_file(path)

    return Odd(f"safetensors: {name}", write)


def by_hand(name: str, content: bytes, values: dict[str, torch.Tensor]) -> Odd:
    return Odd(f"safetensors: {name}", lambda site: (site.write(content), values))


def dtypes() -> dict[str, torch.Tensor]:
    return {name: value for name, value in all_dtypes().items() if name not in ("complex128", "complex32")}


ITEMS: list[Item] = [
    odd("all dtypes", dtypes),
    odd("numbers, empty ones, names", lambda: {
        "scalar": torch.tensor(1.5), "empty": torch.empty(0, 2), "ünï": torch.ones(3).byte(),
            "a b/c": torch.ones(1),
    }, metadata={"format": "pt", "note": "ü"}),
    odd("3,000 tensors", lambda: {f"t{n}": torch.full((2,), float(n)) for n in range(3000)}),
    by_hand("a padded header in another order", raw(
        json.dumps({"b": entry(place=(4, 12)), "a": entry(shape=(), place=(0, 4))}) + "     ",
        torch.tensor([1.0, 2.0, 3.0]).numpy().tobytes()), {"a": torch.tensor(1.0),
            "b": torch.tensor([2.0, 3.0])}),
    by_hand("not aligned", raw(json.dumps({"b": entry(place=(0, 1), dtype="U8", shape=(1,)),
                                           "a": entry(place=(1, 9))}) + " ",
        b"\x07" + torch.tensor([1.5, float("nan")]).numpy().tobytes()),
        {"b": torch.tensor([7], dtype=torch.uint8), "a": torch.tensor([1.5, float("nan")])}),
    by_hand("20,000 empty ones", raw(
        {f"t{n}": {"dtype": "F32", "shape": [0],
            "data_offsets": [0, 0]} for n in range(20_000)} | {"w": entry()}),
        {f"t{n}": torch.empty(0) for n in range(20_000)} | {"w": torch.zeros(2)}),
    *(Bad(f"safetensors: {name}", file(content), told) for name, (content, told) in LIES.items()),
]  # fmt: skip
