"""A small honest checkpoint, cut into the parts that damage is done to before they are packed."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["Honest", "Parts", "archive", "one_file", "packed", "written"]

Parts = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Honest:
    """A checkpoint.

    Attributes:
        parts: What it consists of, by name: its files, or what is packed into its one file.
        pack: Makes the files of it, by name. By default the parts are the files.
        opens: Which file is opened; the folder if it is empty.
        checked: Which of the files hold checksums of everything in them.
        dull: How names of parts end that no reader of weights looks into.
    """

    parts: Mapping[str, bytes]
    pack: Callable[[Mapping[str, bytes]], Parts] = field(default=dict)
    opens: str = "x"
    checked: tuple[str, ...] = ()
    dull: tuple[str, ...] = ()


def archive(data: bytes, method: int = zipfile.ZIP_STORED, dull: tuple[str, ...] = ()) -> Honest:
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    return Honest(parts, partial(packed, method=method), checked=("x",), dull=dull)


def one_file(data: bytes) -> Honest:
    return Honest({"x": data})


def packed(parts: Mapping[str, bytes], method: int) -> Parts:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, data in parts.items():
            made.writestr(zipfile.ZipInfo(name), data, method)
    return {"x": buffer.getvalue()}


def written(write: Callable[[Path], object]) -> bytes:
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(Path(folder) / "x")
        return (Path(folder) / "x").read_bytes()
