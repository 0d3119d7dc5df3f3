"""JSON tables from files: the same as `json` where it is honest, and one error where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchgraft.errors import CheckpointError, UnsafeCheckpointError
from torchgraft.formats.strict_json import parse_json_table, read_json_table
from torchgraft.storage.local import MappedFile


@pytest.mark.parametrize(
    "table", [{}, {"a": {"b": [1, None, "ü", 1.5, True]}}, {"a" * 1000: list(range(1000))}]
)
def test_the_same_as_json(table: object, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(json.dumps(table))
    assert read_json_table(MappedFile(tmp_path / "x"), max_bytes=1 << 20) == table


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"a": 1, "a": 1}', id="a key twice"),
        pytest.param(b'{"a": {"b": 1, "b": 2}}', id="a key twice inside"),
        pytest.param(b'{"a":' + b"[" * 100_000, id="deep lists"),
        pytest.param(b'{"a":' * 100_000, id="deep tables"),
        pytest.param(b'{"a": ' + b"9" * 10_000 + b"}", id="ten thousand digits"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(b"3", id="a number"),
        pytest.param(b'{"a"', id="half"),
        pytest.param(b'{"a": 1} x', id="something after it"),
        pytest.param(b'{"\xff": 1}', id="not UTF-8"),
        pytest.param(b"{'a': 1}", id="single quotes"),
        pytest.param(b'{"a": "' + b"x" * 900_000 + b"}", id="a long text without an end"),
    ],
)
def test_what_is_no_table(text: bytes) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_json_table(text, "file.json")
    assert caught.value.where == "file.json"
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "text", [b'{"a":[' + b"0," * 300_001 + b"0]}", b'{"a":[' + b"[]," * 300_000 + b"0]}"]
)
def test_too_many_values_are_refused_before_they_are_made(text: bytes) -> None:
    with pytest.raises(UnsafeCheckpointError, match="300,000 values"):
        parse_json_table(text, "file.json")


def test_wide_letters_are_limited() -> None:
    with pytest.raises(UnsafeCheckpointError, match="beyond ASCII"):
        parse_json_table(b'{"a": "' + "ü".encode() * (5 << 20) + b'"}', "file.json")


def test_the_size_is_limited(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(json.dumps({"a": "x" * 100}))
    with pytest.raises(UnsafeCheckpointError, match="the limit is 100") as caught:
        read_json_table(MappedFile(tmp_path / "x"), max_bytes=100)
    assert caught.value.where == str(tmp_path / "x")
