"""safetensors: compared with the safetensors package, and headers that lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from torchgraft.errors import CheckpointError
from torchgraft.formats import read_container


def write(
    path: Path, header: dict[str, Any] | str | bytes, body: bytes = b"", length: int | None = None
) -> Path:
    if isinstance(header, dict):
        header = json.dumps(header)
    raw = header.encode() if isinstance(header, str) else header
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + body)
    return path


def entry(dtype: Any = "F32", shape: Any = (2,), place: Any = (0, 8), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(place), **more}


def test_the_same_as_the_package(tmp_path: Path, assert_same: Callable[[object, object], None]) -> None:
    tensors = {
        str(dtype): torch.arange(-3, 9).to(dtype).reshape(3, 4)
        for dtype in (
            torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
            torch.int16, torch.int8, torch.uint8, torch.bool, torch.uint16, torch.uint32, torch.uint64,
            torch.float8_e4m3fn, torch.float8_e5m2,
        )
    } | {"scalar": torch.tensor(1.5), "empty": torch.empty(0, 2), "ünï": torch.ones(3).byte()}  # fmt: skip
    save_file(tensors, tmp_path / "x", {"format": "pt", "note": "ü"})
    container = read_container(tmp_path / "x")
    assert container.format == "safetensors"
    assert container.metadata == {"format": "pt", "note": "ü"}
    assert isinstance(container.tree, dict)
    assert {key: ref.name for key, ref in container.tree.items()} == {key: key for key in tensors}
    theirs = load_file(tmp_path / "x")
    assert_same({key: container.tree[key] for key in theirs}, theirs)


def test_headers_made_by_hand(tmp_path: Path) -> None:
    body = torch.tensor([1.0, 2.0, 3.0]).numpy().tobytes()
    header = {"b": entry(place=(4, 12)), "a": entry(shape=(), place=(0, 4))}
    tree = read_container(write(tmp_path / "x", json.dumps(header) + "   ", body)).tree
    assert isinstance(tree, dict)
    assert list(tree) == ["b", "a"]
    assert tree["b"].read().tolist() == [2.0, 3.0]
    assert tree["a"].read().item() == 1.0


@pytest.mark.parametrize(
    ("header", "body"),
    [
        pytest.param({"a": entry(place=(0, 4))}, 4, id="too few bytes"),
        pytest.param({"a": entry(place=(8, 0))}, 8, id="backwards"),
        pytest.param({"a": entry(place=(-8, 0))}, 8, id="negative"),
        pytest.param({"a": entry(place=(8, 16))}, 16, id="a hole at the start"),
        pytest.param({"a": entry(), "b": entry(place=(9, 17))}, 17, id="a hole"),
        pytest.param({"a": entry(), "b": entry(place=(4, 12))}, 12, id="overlap"),
        pytest.param({"a": entry(), "b": entry()}, 8, id="the same bytes twice"),
        pytest.param({"a": entry()}, 9, id="more bytes than tensors"),
        pytest.param({"a": entry()}, 7, id="truncated"),
        pytest.param({"a": entry(shape=(2**61, 2**61), place=(0, 8))}, 8, id="huge shape"),
        pytest.param({"a": entry(shape=(2**61, 2**61, 0), place=(0, 0))}, 0, id="huge and empty"),
        pytest.param({"a": entry(shape=(-2,))}, 8, id="negative shape"),
        pytest.param({"a": entry(shape=(-1, -2))}, 8, id="negative twice"),
        pytest.param({"a": entry(shape=(2.0,))}, 8, id="fractional shape"),
        pytest.param({"a": entry(shape=(True, 2))}, 8, id="truth value as shape"),
        pytest.param({"a": entry(shape=[1] * 65 + [2])}, 8, id="66 dimensions"),
        pytest.param({"a": entry(dtype="F33")}, 8, id="unknown dtype"),
        pytest.param({"a": entry(dtype=3)}, 8, id="dtype a number"),
        pytest.param({"a": {"dtype": "F32", "shape": [2]}}, 8, id="no place"),
        pytest.param({"a": 3}, 0, id="an entry that is a number"),
        pytest.param({"__metadata__": {"a": 1}}, 0, id="metadata that is no text"),
        pytest.param({"__metadata__": 1}, 0, id="metadata that is no table"),
        pytest.param('{"a": 1, "a": 2}', 0, id="a key twice"),
        pytest.param('{"a":' + "[" * 100_000, 0, id="deep"),
        pytest.param('{"a": ' + "9" * 10_000 + "}", 0, id="a number of ten thousand digits"),
        pytest.param("{", 0, id="half"),
        pytest.param(b"{\xff\xfe}", 0, id="no text"),
    ],
)
def test_lies_are_refused(header: Any, body: int, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_container(write(tmp_path / "x", header, bytes(body)))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("length", [3, 1000, 100_000_001, 1 << 39])
def test_the_header_must_be_in_the_file(length: int, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        read_container(write(tmp_path / "x", {"a": entry()}, bytes(8), length))


def with_layouts(text: str) -> dict[str, Any]:
    return {"__metadata__": {"torchgraft.layouts": text}, "a": entry()}


@pytest.mark.parametrize("layout", ["HWIO", "IO", "DHWIO", "IO:ifco", "BO:zrh"])
def test_layouts_that_convert_noted(layout: str, tmp_path: Path) -> None:
    noted = with_layouts(json.dumps({"a": layout, "in another file": "IO"}))
    tree = read_container(write(tmp_path / "x", noted, bytes(8))).tree
    assert isinstance(tree, dict)
    assert tree["a"].layout == layout
    assert tree["a"].read().tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", '"IO"', '{"a": 3}', '{"a": null}', '{"a": ["IO"]}', '{"a": ""}', '{"a": "sparse_coo"}',
        '{"a": "IO\\u001b[2J"}', '{"a": "io"}', '{"a": "' + "I" * 17 + '"}', '{"a": "IO", "a": "OI"}',
        '{"a": ' + "[" * 100_000 + "}",
    ],
)  # fmt: skip
def test_layouts_that_make_no_sense_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"x: torchgraft\.layouts|its torchgraft\.layouts") as caught:
        read_container(write(tmp_path / "x", with_layouts(text), bytes(8)))
    assert str(tmp_path / "x") in str(caught.value.where)
