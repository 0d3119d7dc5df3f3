"""Comparing what we read with what PyTorch reads, and archives made by hand."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from torchgraft.formats.container import Placeholder
from torchgraft.tensors import TensorRef


@pytest.fixture
def assert_same() -> Callable[[object, object], None]:
    """Whether our tree holds exactly what `torch.load` gave."""

    def check(ours: object, theirs: object) -> None:
        if isinstance(theirs, torch.Tensor):
            assert isinstance(ours, TensorRef)
            read = ours.read()
            assert (read.dtype, read.shape) == (theirs.dtype, theirs.shape)
            assert (ours.dtype, ours.shape) == (str(theirs.dtype)[6:], tuple(theirs.shape))
            wanted = theirs.detach().resolve_conj().resolve_neg().contiguous()
            given = read.resolve_conj().resolve_neg().contiguous()
            assert given.flatten().view(torch.uint8).tolist() == wanted.flatten().view(torch.uint8).tolist()
        elif isinstance(theirs, dict):
            assert isinstance(ours, dict)
            assert list(ours) == list(theirs)
            for key, value in theirs.items():
                check(ours[key], value)
        elif isinstance(theirs, (list, tuple)):
            assert isinstance(ours, (list, tuple))
            assert len(ours) == len(theirs)
            for one, other in zip(ours, theirs, strict=True):
                check(one, other)
        else:
            assert type(ours) is type(theirs)
            assert ours == theirs

    return check


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """A zip as torch.save lays it out, around a pickle made by hand."""

    def make(
        pickle: bytes, storages: dict[str, bytes] | None = None, *, compress: bool = False, **more: bytes
    ) -> Path:
        path = tmp_path / "made.pth"
        method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("made/data.pkl", pickle)
            archive.writestr("made/version", "3\n")
            for key, data in (storages or {}).items():
                archive.writestr(f"made/data/{key}", data)
            for name, data in more.items():
                archive.writestr(f"made/{name}", data)
        return path

    return make


@pytest.fixture
def walk() -> Callable[[object], Iterator[object]]:
    """Every node of a tree, each once; trees may be deep and hold themselves."""

    def visit(tree: object) -> Iterator[object]:
        seen: set[int] = set()
        stack = [tree]
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            yield node
            if isinstance(node, dict):
                stack += [*node, *node.values()]
            elif isinstance(node, (list, tuple, set, frozenset)):
                stack += node
            elif isinstance(node, Placeholder):
                stack += [node.args, node.state, node.items]

    return visit
