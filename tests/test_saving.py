"""`save`: what is written reads back bit for bit by the formats' own readers, whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import torchgraft as tg
from torchgraft import SaveError, save

FILES = ["x.safetensors", "x.pth", "x.pt", "folder"]


def read(path: Path) -> dict[str, torch.Tensor]:
    """By the formats' own readers."""
    if path.is_dir():
        return load_file(path / "model.safetensors")
    if path.suffix == ".safetensors":
        return load_file(path)
    loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return loaded


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def check_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for key, tensor in one.items():
        assert (tensor.shape, tensor.dtype) == (other[key].shape, other[key].dtype)
        assert torch.equal(bits(tensor), bits(other[key])), key


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["model", "state dict", "parameters", "checkpoint"])
def test_what_can_be_saved_and_where(kind, name, tmp_path):
    model = small()
    expected = model.state_dict()
    torch.save({"state_dict": expected, "epoch": 3}, tmp_path / "training.ckpt")
    source = {
        "model": model,
        "state dict": expected,
        "parameters": dict(model.state_dict(keep_vars=True)),
        "checkpoint": tg.open(tmp_path / "training.ckpt"),
    }[kind]
    path = save(source, tmp_path / name)
    assert path == tmp_path / name
    check_same(read(path), expected)


MEMORY = {
    "transposed": torch.arange(12.0).reshape(3, 4).t(),
    "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "expanded": torch.ones(1).expand(4),
    "every other": torch.arange(10)[::2],
    "slice": torch.arange(10.0)[4:7],
    "empty": torch.empty(0, 3),
    "bfloat16": torch.rand(3).bfloat16(),
    "float8": torch.rand(4).to(torch.float8_e4m3fn),
    "bool": torch.tensor([True, False]),
    "complex": torch.rand(3, dtype=torch.complex64),
    "conjugated": torch.rand(3, dtype=torch.complex64).conj(),
    "negated": torch.rand(3, dtype=torch.complex64).conj().imag,
}


@pytest.mark.parametrize("name", FILES)
def test_however_tensors_lie_in_memory(name, tmp_path):
    check_same(read(save(MEMORY, tmp_path / name)), MEMORY)


@pytest.mark.parametrize("name", FILES)
def test_tied_weights(name, tmp_path):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    path = save(model, tmp_path / name)
    stored = read(path)
    if "0.weight" in stored and "1.weight" in stored:  # a .pth file knows ties
        assert stored["0.weight"].data_ptr() == stored["1.weight"].data_ptr()
    else:
        assert stored.keys() == {"0.weight"}
    check_same(dict(tg.open(path).state_dict()), model.state_dict())
    mine = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    mine[1].weight = mine[0].weight
    tg.load(path, model=mine)
    assert mine[0].weight is mine[1].weight
    assert torch.equal(mine[0].weight, model[0].weight)


def test_a_model_on_channels_last_keeps_its_layout(tmp_path):
    model = small().to(memory_format=torch.channels_last)
    save(model, tmp_path / "x.safetensors")
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    check_same(load_file(tmp_path / "x.safetensors"), model.state_dict())


class Unsaveable:
    """Stands for the disk: writing or syncing fails with this number."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __call__(self, *_: object) -> None:
        raise OSError(self.code, os.strerror(self.code))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("code", "message"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
def test_a_disk_that_refuses_leaves_the_old_file(code, message, name, tmp_path, monkeypatch):
    save(small(), tmp_path / name)
    before = contents(tmp_path)
    monkeypatch.setattr(os, "fsync", Unsaveable(code))
    with pytest.raises(SaveError, match=message):
        save(small(), tmp_path / name)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("name", FILES)
def test_a_folder_that_is_read_only(name, code, tmp_path, monkeypatch):
    for made in ("mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, made, lambda **_: Unsaveable(code)())
    with pytest.raises(SaveError, match=r"read-only|no permission"):
        save(small(), tmp_path / name)
    assert contents(tmp_path) == {}


FULL = """
import resource, signal, sys
import torch, torchgraft as tg
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for path in sys.argv[1:]:
    try:
        tg.save({"a": torch.zeros(60_000), "b": torch.zeros(60_000)}, path)
    except tg.SaveError as error:
        print(error.what)
"""


def test_a_disk_that_fills_up_half_way(tmp_path):
    """The system itself stops the write in the middle, in every writer."""
    for name in FILES:
        save(small(), tmp_path / name)
    before = contents(tmp_path)
    paths = [str(tmp_path / name) for name in FILES]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *paths], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines() == ["the file is too large for this file system"] * len(FILES)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("x.bin", "'.bin' are not written", ".safetensors or .pth"),
        ("x.onnx", "'.onnx' are not written", ".safetensors or .pth"),
        ("absent/x.pth", "no such folder", "mkdir -p"),
        ("absent/x.safetensors", "no such folder", "mkdir -p"),
        ("file", "this is a file", "another"),
        ("file/folder", "can't make this folder", "another"),
        ("taken.pth", "this is a folder", "file name"),
        ("taken.safetensors", "this is a folder", "file name"),
    ],
)
def test_where_nothing_can_be_saved(name, message, hint, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "taken.pth").mkdir()
    (tmp_path / "taken.safetensors").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SaveError, match=message) as caught:
        save(small(), tmp_path / name)
    assert hint in str(caught.value.hint)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"state_dict": {"a": torch.ones(1)}, "epoch": 3}, r"'state_dict' \(dict\)"),
        ({"a": torch.ones(1), "epoch": 3}, r"'epoch' \(int\)"),
        ({1: torch.ones(1)}, r"1 \(Tensor\)"),
        (nn.Linear(2, 2, device="meta"), "'weight' is on the meta device"),
    ],
)
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_weights_is_refused_rather_than_dropped(source, message, name, tmp_path):
    with pytest.raises(SaveError, match=message):
        save(source, tmp_path / name)
    assert contents(tmp_path) == {}


def test_what_safetensors_cant_hold(tmp_path):
    sparse = {"x": torch.eye(3).to_sparse()}
    with pytest.raises(SaveError, match="can't be written as safetensors") as caught:
        save(sparse, tmp_path / "x.safetensors")
    assert ".pth" in str(caught.value.hint)
    assert contents(tmp_path) == {}


def test_what_a_module_adds_beside_tensors_is_left_out(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self) -> object:
            return {"scale": 3}

        def set_extra_state(self, state: object) -> None: ...

    model = Extra(2, 2)
    assert set(read(save(model, tmp_path / "x.pth"))) == {"weight", "bias"}
