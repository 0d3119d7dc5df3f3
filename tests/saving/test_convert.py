"""`convert`: the formats' own readers find in the result what they find in the source, bit for bit."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import load_torch_model, split_torch_state_dict_into_shards
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import torchgraft as tg
from torchgraft import CheckpointError, CorruptCheckpointError, SaveError

TENSORS = {
    "z.weight": torch.rand(5, 3),
    "a.transposed": torch.arange(12.0).reshape(3, 4).t(),
    "half": torch.rand(3).half(),
    "bfloat16": torch.rand(3).bfloat16(),
    "double": torch.rand(2, dtype=torch.float64),
    "float8": torch.rand(4).to(torch.float8_e4m3fn),
    "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
    "uint64": torch.tensor([1, 2**63], dtype=torch.uint64),
    "int8": torch.tensor([-1, 2], dtype=torch.int8),
    "bool": torch.tensor([True, False, True]),
    "complex": torch.rand(3, dtype=torch.complex64),
    "counter": torch.tensor(7),
    "empty": torch.empty(0, 3),
    "none.of.it": torch.tensor([float("nan"), float("-inf"), -0.0]),
    "наме": torch.ones(1),
}
TARGETS = ["new.safetensors", "new.pth", "new.pt", "new", "shards"]


def read(path: Path) -> dict[str, torch.Tensor]:
    """By the formats' own readers."""
    if path.suffix in (".pth", ".pt"):
        loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
        return loaded
    if path.is_dir():
        return {key: value for file in path.glob("*.safetensors") for key, value in load_file(file).items()}
    return load_file(path)


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)


def check_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for key, tensor in one.items():
        assert (tensor.shape, tensor.dtype) == (other[key].shape, other[key].dtype), key
        assert torch.equal(bits(tensor), bits(other[key])), key


def convert(source: object, target: Path, **options: object) -> Path:
    return tg.convert(source, target, shard_size=30 if target.name == "shards" else None, **options)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.save({"state_dict": TENSORS, "epoch": 3}, tmp_path / "old.ckpt")
    return tmp_path / "old.ckpt"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["torch", "safetensors", "checkpoint"])
def test_everything_stays_as_it_is(kind: str, target: str, source: Path, tmp_path: Path) -> None:
    save_file({key: tensor.contiguous() for key, tensor in TENSORS.items()}, tmp_path / "old.safetensors")
    given = {"torch": source, "safetensors": tmp_path / "old.safetensors", "checkpoint": tg.open(source)}[
        kind
    ]
    path = convert(given, tmp_path / target)
    assert path == tmp_path / target
    check_same(read(path), TENSORS)
    reopened = tg.open(path)
    check_same(reopened.state_dict(), TENSORS)
    assert list(reopened) == list(tg.open(given) if isinstance(given, Path) else given)


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_source_makes_the_same_bytes(target: str, source: Path, tmp_path: Path) -> None:
    first = contents(convert(source, tmp_path / target).parent)
    assert contents(convert(source, tmp_path / target).parent) == first


@pytest.mark.parametrize("target", TARGETS)
def test_a_single_element_may_have_any_stride(target: str, tmp_path: Path) -> None:
    spread = torch.arange(10.0)[::7][1:]
    assert (spread.stride(), spread.is_contiguous()) == ((7,), True)
    torch.save({"w": spread}, tmp_path / "old.pth")
    assert read(convert(tmp_path / "old.pth", tmp_path / target))["w"].tolist() == [7.0]


def test_tied_tensors(tmp_path: Path) -> None:
    weight = torch.rand(1000)
    torch.save({"a": weight, "b": weight, "part": weight[:10]}, tmp_path / "old.pth")
    loaded = read(tg.convert(tmp_path / "old.pth", tmp_path / "new.pth"))
    assert loaded["a"].data_ptr() == loaded["b"].data_ptr()
    reopened = tg.open(tmp_path / "new.pth")
    assert reopened["a"].alias == reopened["b"].alias != reopened["part"].alias
    check_same(read(tg.convert(tmp_path / "old.pth", tmp_path / "new.safetensors")), loaded)


def test_a_part_of_the_file(tmp_path: Path) -> None:
    torch.save({"model": {"w": torch.zeros(2, 2)}, "ema": {"w": torch.ones(2, 2)}}, tmp_path / "old.pth")
    for given in (tmp_path / "old.pth", tg.open(tmp_path / "old.pth")):
        tg.convert(given, tmp_path / "new.safetensors", select="ema")
        check_same(read(tmp_path / "new.safetensors"), {"w": torch.ones(2, 2)})


def test_layouts_come_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = {"conv/kernel": np.ones((3, 3, 2, 4), np.float32), "dense/kernel": np.ones((4, 2), np.float32)}
    np.savez(tmp_path / "old.npz", **arrays)
    opened = tg.open(tmp_path / "old.npz")
    layouts = {key: ref.layout for key, ref in opened.items()}
    assert any(layouts.values())
    for target in ("new.safetensors", "new", "shards"):
        reopened = tg.open(convert(tmp_path / "old.npz", tmp_path / target))
        assert {key: ref.layout for key, ref in reopened.items()} == layouts
        assert {key: ref.shape for key, ref in reopened.items()} == {k: r.shape for k, r in opened.items()}
    again = tg.convert(tmp_path / "new.safetensors", tmp_path / "again.safetensors")
    assert again.read_bytes() == (tmp_path / "new.safetensors").read_bytes()
    with caplog.at_level(logging.WARNING):
        tg.convert(tmp_path / "old.npz", tmp_path / "new.pth")
    assert "a .pth file can't say that dimensions are ordered as HWIO" in caplog.text


def test_the_description_of_a_model_goes_along(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "old.safetensors", {"format": "np", "author": "me"})
    tg.convert(tmp_path / "old.safetensors", tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        assert file.metadata() == {"format": "np", "author": "me"}


def test_shards_are_laid_out_as_hugging_face_does(tmp_path: Path) -> None:
    tensors = {f"{i}.w": torch.rand(10, 10) for i in range(7)}
    torch.save(tensors, tmp_path / "old.pth")
    tg.convert(tmp_path / "old.pth", tmp_path / "new", shard_size="1KB")
    split = split_torch_state_dict_into_shards(
        tensors, filename_pattern="model{suffix}.safetensors", max_shard_size=1000
    )
    index = json.loads((tmp_path / "new" / "model.safetensors.index.json").read_text("utf-8"))
    assert index == {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
    assert {p.name for p in (tmp_path / "new").iterdir()} == {
        *split.filename_to_tensors,
        "model.safetensors.index.json",
    }


def test_hugging_face_loads_the_shards(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4))
    torch.save(model.state_dict(), tmp_path / "old.pth")
    tg.convert(tmp_path / "old.pth", tmp_path / "new", shard_size=500)
    assert len(list((tmp_path / "new").glob("*.safetensors"))) > 1
    mine = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4))
    load_torch_model(mine, tmp_path / "new")
    check_same(mine.state_dict(), model.state_dict())


def test_one_file_is_no_shard(source: Path, tmp_path: Path) -> None:
    tg.convert(source, tmp_path / "new", shard_size="5GB")
    assert list(contents(tmp_path / "new")) == ["model.safetensors"]


@pytest.mark.parametrize("target", ["new.safetensors", "new.pth", "new"])
def test_another_precision(target: str, source: Path, tmp_path: Path) -> None:
    found = read(tg.convert(source, tmp_path / target, dtype="bfloat16"))
    wanted = {
        key: tensor.bfloat16() if tensor.dtype in (torch.float64, torch.float32, torch.float16) else tensor
        for key, tensor in TENSORS.items()
    }
    check_same(found, wanted)


def test_a_precision_that_makes_numbers_infinite_is_refused(tmp_path: Path) -> None:
    torch.save(
        {"fine": torch.tensor([float("inf")]), "w": torch.tensor([1.0, 70_000.0])}, tmp_path / "old.pth"
    )
    with pytest.raises(SaveError, match="too large for float16") as caught:
        tg.convert(tmp_path / "old.pth", tmp_path / "new.safetensors", dtype="float16")
    assert caught.value.where == "w"
    assert list(contents(tmp_path)) == ["old.pth"]
    tg.convert(tmp_path / "old.pth", tmp_path / "new.safetensors", dtype="bfloat16")


LACKING = {
    "complex128": (lambda: torch.rand(2, dtype=torch.complex128), "complex128"),
    "quantised": (lambda: torch.quantize_per_tensor(torch.rand(4), 0.1, 3, torch.quint8), "quint8"),
    "sparse": (lambda: torch.eye(3).to_sparse(), "sparse tensors"),
    "sparse by rows": (lambda: torch.eye(3).to_sparse_csr(), "sparse tensors"),
}


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta", "ignore:Validating sparse tensor")
@pytest.mark.filterwarnings("ignore:.*quantized tensor creation", "ignore:TypedStorage is deprecated")
@pytest.mark.parametrize("kind", LACKING)
@pytest.mark.parametrize("target", ["new.safetensors", "new", "shards"])
def test_what_safetensors_lacks_is_refused_before_anything_is_written(
    kind: str, target: str, tmp_path: Path
) -> None:
    make, word = LACKING[kind]
    tensor = make()
    torch.save({"fine": torch.ones(2), "it": tensor}, tmp_path / "old.pth")
    with pytest.raises(SaveError, match=f"'it' can't be written as safetensors.*{word}") as caught:
        convert(tmp_path / "old.pth", tmp_path / target)
    assert ".pth" in str(caught.value.hint)
    assert list(contents(tmp_path)) == ["old.pth"]
    found = read(tg.convert(tmp_path / "old.pth", tmp_path / "new.pth"))["it"]
    assert (found.dtype, found.layout) == (tensor.dtype, tensor.layout)
    plain = [t.dequantize() if t.is_quantized else t.to_dense() for t in (found, tensor)]
    assert torch.equal(*plain)


@pytest.mark.parametrize(
    ("name", "message"), [("__metadata__", "means something else"), ("a\ud800b", "is no text")]
)
def test_names_that_the_format_cant_hold(name: str, message: str, tmp_path: Path) -> None:
    ckpt = tg.Checkpoint.from_state_dict({name: torch.ones(2)})
    with pytest.raises(SaveError, match=message):
        tg.convert(ckpt, tmp_path / "new.safetensors")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("target", "options", "kind", "message"),
    [
        ("new.bin", {}, SaveError, "'.bin' are not written"),
        ("new.safetensors", {"shard_size": 5}, SaveError, "several files need a folder"),
        ("new.pth", {"shard_size": "5GB"}, SaveError, "several files need a folder"),
        ("new", {"shard_size": "5 boxes"}, ValueError, "is no size"),
        ("new", {"shard_size": 0}, ValueError, "a byte at least"),
        ("new", {"dtype": "int8"}, ValueError, "dtype='int8' is none of"),
        ("absent/new.pth", {}, SaveError, "no such folder"),
        ("old.ckpt/new", {}, SaveError, "can't make this folder"),
        ("file", {}, SaveError, "this is a file"),
        ("taken", {}, SaveError, "holds 'notes.txt', and would be replaced"),
        ("own", {}, SaveError, "holds 'model.safetensors'"),
    ],
)
def test_where_nothing_can_be_written(
    target: str, options: dict[str, object], kind: type[Exception], message: str, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    (tmp_path / "own" / "model.safetensors").mkdir(parents=True)
    before = contents(tmp_path)
    with pytest.raises(kind, match=message):
        tg.convert(source, tmp_path / target, **options)  # type: ignore[arg-type]
    assert contents(tmp_path) == before


@pytest.mark.parametrize("target", TARGETS)
def test_a_disk_that_refuses_leaves_what_was_there(
    target: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"other": torch.ones(5, 5), "one": torch.ones(5, 5)}, tmp_path / "other.pth")
    convert(tmp_path / "other.pth", tmp_path / target)
    before = contents(tmp_path)

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveError, match="disk is full"):
        convert(source, tmp_path / target)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("target", TARGETS)
def test_a_damaged_source_leaves_what_was_there(target: str, tmp_path: Path) -> None:
    torch.save({"a": torch.rand(50), "b": torch.rand(50)}, tmp_path / "old.pth")
    convert(tmp_path / "old.pth", tmp_path / target)
    data = bytearray((tmp_path / "old.pth").read_bytes())
    data[data.rindex(b"data/1", 0, data.index(b"PK\x01\x02")) + 100] ^= 1
    (tmp_path / "old.pth").write_bytes(data)
    before = contents(tmp_path)
    with pytest.raises(CorruptCheckpointError, match="not what its checksum says") as caught:
        convert(tmp_path / "old.pth", tmp_path / target)
    assert "old.pth: old/data/1" in str(caught.value.where)
    assert contents(tmp_path) == before
    convert(tmp_path / "old.pth", tmp_path / target, verify=False)


def test_the_source_may_be_replaced(source: Path, tmp_path: Path) -> None:
    tg.convert(source, tmp_path / "x.pth")
    check_same(read(tg.convert(tmp_path / "x.pth", tmp_path / "x.pth")), TENSORS)
    convert(source, tmp_path / "shards")
    check_same(read(tg.convert(tmp_path / "shards", tmp_path / "shards")), TENSORS)
    assert list(contents(tmp_path / "shards")) == ["model.safetensors"]


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        tg.convert(tmp_path / "absent.pth", tmp_path / "new.pth")
