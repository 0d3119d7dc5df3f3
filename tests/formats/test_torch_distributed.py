"""torch.distributed.checkpoint's folders: compared with its own reader."""

from __future__ import annotations

import io
import os
import pickle
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint._extension import StreamTransformExtension
from torch.distributed.checkpoint.filesystem import SerializationFormat
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

import torchgraft as tg
from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.folders.distributed import TORCH_DISTRIBUTED
from torchgraft.storage.local_folder import LocalFolder
from torchgraft.storage.pooled import PooledFile
from torchgraft.tensors import TensorRef

# "assuming the intent is to save in a single process"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TWO_RANKS = Path(__file__).with_name("two_ranks.py")


def state() -> dict[str, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 3, 3, 3)).sum().backward()
    optimizer.step()
    dtypes = (
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.int64,
        torch.uint8,
        torch.bool,
        torch.complex64,
    )
    return {
        "model": model.state_dict(),
        "optim": optimizer.state_dict(),
        "dtypes": {str(dtype): torch.arange(-3, 9).to(dtype).reshape(3, 4) for dtype in dtypes},
        "odd": {
            "scalar": torch.tensor(1.5), "empty": torch.empty(0, 3), "t": torch.arange(6.0).view(2, 3).t(),
            "nan": torch.tensor([float("nan"), -0.0]), "view": torch.arange(100.0)[10:13],
        },
        "epoch": 3, "note": "ünï", "none": None, "list": [1, torch.ones(2), {"x": 2.5}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint by a single process."""
    folder = tmp_path_factory.mktemp("one") / "saved"
    dcp.save(state(), checkpoint_id=folder)
    return folder


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sharded tensors by two processes."""
    folder = tmp_path_factory.mktemp("two")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    ranks = [
        subprocess.Popen([sys.executable, str(TWO_RANKS), str(rank), str(folder)], env=environment)
        for rank in (0, 1)
    ]
    try:
        assert [rank.wait(120) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    return folder


def whole() -> dict[str, torch.Tensor]:
    return runpy.run_path(str(TWO_RANKS))["whole"]()


def test_the_same_as_its_own_reader(saved: Path, assert_same: Callable[[object, object], None]) -> None:
    theirs = state()
    for tensor in [*theirs["model"].values(), *theirs["dtypes"].values(), *theirs["odd"].values()]:
        tensor.zero_()
    dcp.load(theirs, checkpoint_id=saved)
    container = read_container(saved)
    assert container.format == "torch distributed"
    assert container.path == saved
    assert container.metadata == {"version": "1.0.0"}
    assert isinstance(container.tree, dict)
    ours = dict(container.tree)
    # Keys of dicts become texts when they are flattened, also the numbers of an optimizer's parameters.
    theirs["optim"]["state"] = {str(key): value for key, value in theirs["optim"]["state"].items()}
    assert_same(ours, theirs)


def test_as_a_checkpoint(saved: Path) -> None:
    checkpoint = tg.open(saved, select="model")
    assert {key: value.tolist() for key, value in checkpoint.state_dict().items()} == {
        key: value.tolist() for key, value in state()["model"].items()
    }
    assert {part.name: part.kind for part in checkpoint.parts}["optim.state"] == "per-parameter state"
    assert checkpoint.metadata["epoch"] == 3
    assert checkpoint.classes == ()


@pytest.mark.parametrize("kind", ["torch", "hf"])
def test_shards_of_two_ranks(
    kind: str, two_ranks: Path, assert_same: Callable[[object, object], None]
) -> None:
    container = read_container(two_ranks / kind)
    tree = container.tree
    assert isinstance(tree, dict)
    held = tree["model"] if kind == "torch" else tree
    assert_same({name: held[name] for name in whole()}, whole())
    assert held.keys() == whole().keys()
    assert torch.equal(held["layer.rows_0"][3:5, 1], whole()["layer.rows_0"][3:5, 1])
    reader = (
        dcp.FileSystemReader(two_ranks / kind)
        if kind == "torch"
        else dcp.HuggingFaceStorageReader(str(two_ranks / kind))
    )
    theirs = {name: torch.zeros_like(tensor) for name, tensor in whole().items()}
    dcp.load({"model": theirs} if kind == "torch" else theirs, storage_reader=reader)
    assert_same({name: held[name] for name in theirs}, theirs)


def test_a_missing_rank_is_named(two_ranks: Path, tmp_path: Path) -> None:
    for kind, name in (("torch", "__1_0.distcp"), ("hf", "shard-00001-model-00001-of-00001.safetensors")):
        copy = tmp_path / kind
        copy.mkdir()
        for file in (two_ranks / kind).iterdir():
            if file.name != name:
                (copy / file.name).write_bytes(file.read_bytes())
        with pytest.raises(CorruptCheckpointError, match="missing") as caught:
            read_container(copy)
        assert name[:11] in caught.value.what
        assert caught.value.where == str(copy)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_safetensors_form(
    threads: int, tmp_path: Path, assert_same: Callable[[object, object], None]
) -> None:
    """DCP's own reader can't read what this writer writes."""
    held = {name: tensor for name, tensor in state()["dtypes"].items() if "complex" not in name}
    writer = dcp.FileSystemWriter(
        tmp_path / "x", serialization_format=SerializationFormat.SAFETENSORS, thread_count=threads
    )
    dcp.save({"a": held, "n": 3, "m": "x"}, storage_writer=writer)
    assert_same(read_container(tmp_path / "x").tree, {"a": held, "n": 3, "m": "x"})


def test_without_nesting(tmp_path: Path) -> None:
    planner = dcp.DefaultSavePlanner(flatten_state_dict=False)
    dcp.save({"a.weight": torch.ones(2), "b": {"c": 1}}, checkpoint_id=tmp_path / "x", planner=planner)
    tree = read_container(tmp_path / "x").tree
    assert isinstance(tree, dict)
    assert tree["a.weight"].read().tolist() == [1.0, 1.0]
    assert tree["b"] == {"c": 1}


class _Counting(LocalFolder):
    """A folder that notes which bytes of which file are read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read: list[tuple[str, int, int]] = []

    def open(self, name: str) -> PooledFile:
        log = self.read

        class Counted(PooledFile):
            def view(self, offset: int, length: int) -> memoryview:
                log.append((name, offset, length))
                return super().view(offset, length)

        return Counted(self.path / name, self._pool)


def test_a_slice_opens_only_its_chunks(two_ranks: Path) -> None:
    counting = _Counting(two_ranks / "torch")
    tree = TORCH_DISTRIBUTED.read(counting, lambda _: pytest.fail("opened"))  # type: ignore[arg-type, return-value]
    model = tree.tree["model"]  # type: ignore[index]
    tensors_read = [span for span in counting.read if span[0] != ".metadata" and span[2] > 1500]
    assert tensors_read == []
    for rows, file in ((slice(0, 2), "__0_0.distcp"), (slice(5, 7), "__1_0.distcp")):
        counting.read.clear()
        assert torch.equal(model["layer.rows_0"][rows], whole()["layer.rows_0"][rows])
        assert {name for name, _, _ in counting.read} == {file}


def test_many_values_and_large_ones_are_listed(tmp_path: Path) -> None:
    dcp.save({"large": "x" * 100_000, "a": torch.ones(1)}, checkpoint_id=tmp_path / "x")
    tree = read_container(tmp_path / "x").tree
    assert isinstance(tree, dict)
    assert "bytes in __0_0.distcp" in tree["large"]


def test_storages_of_different_values_are_not_taken_for_tied(tmp_path: Path) -> None:
    boxes = {
        name: SimpleNamespace(tensor=torch.full((2,), value)) for name, value in (("a", 1.0), ("b", 2.0))
    }
    dcp.save(boxes, checkpoint_id=tmp_path / "x")
    tree = read_container(tmp_path / "x").tree
    assert isinstance(tree, dict)
    one, other = (tree[name].state["tensor"] for name in boxes)
    assert (one.read().tolist(), other.read().tolist()) == ([1.0, 1.0], [2.0, 2.0])
    assert one.alias != other.alias


class _Reversed(StreamTransformExtension):
    @staticmethod
    def from_descriptor(version: str) -> _Reversed:
        return _Reversed()

    @staticmethod
    def registry_name() -> str:
        return "stream.reversed"

    def get_descriptor(self) -> str:
        return "stream.reversed/1"

    def transform_to(self, output: Any) -> Any:
        return output

    def transform_from(self, input: Any) -> Any:
        return input


def test_extensions_are_told(tmp_path: Path) -> None:
    dcp.save(
        {"a": torch.ones(1)}, storage_writer=dcp.FileSystemWriter(tmp_path / "x", _extensions=[_Reversed()])
    )
    with pytest.raises(CheckpointError, match=r"stream\.reversed/1") as caught:
        read_container(tmp_path / "x")
    assert caught.value.where == f"{tmp_path / 'x' / '.metadata'}: a"


def test_opening_does_not_import_pytorch(saved: Path) -> None:
    opened = f"tg.open({str(saved)!r}, select='model')"
    code = f"import sys, torchgraft as tg; {opened}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_many_tensors(tmp_path: Path) -> None:
    """Linear: five thousand small tensors, all told to be in one safetensors file."""
    from safetensors.torch import save

    count = 5_000
    body = save({f"t{n}": torch.tensor([float(n)]) for n in range(count)})
    (tmp_path / "__0_0.distcp").write_bytes(body)
    storage = pickle.loads(pickle.dumps(_info("__0_0.distcp", 0, 4)))
    held = TensorStorageMetadata(
        TensorProperties(dtype=torch.float32),
        torch.Size([1]),
        [ChunkStorageMetadata(torch.Size([0]), torch.Size([1]))],
    )
    metadata = Metadata(
        {f"t{n}": held for n in range(count)},
        storage_data={MetadataIndex(f"t{n}", (0,)): storage for n in range(count)},
    )
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    refs = read_container(tmp_path).tree
    assert isinstance(refs, dict)
    assert [refs[f"t{n}"].read().item() for n in range(0, count, 500)] == list(range(0, count, 500))
    assert all(isinstance(ref, TensorRef) for ref in refs.values())


def _info(file: str, offset: int, length: int) -> object:
    from torch.distributed.checkpoint.filesystem import _StorageInfo

    return _StorageInfo(file, offset, length)


def test_a_buffer_as_a_value(tmp_path: Path) -> None:
    """FSDP keeps extra state so."""
    dcp.save({"a": torch.ones(1), "extra": io.BytesIO(b"xyz")}, checkpoint_id=tmp_path / "x")
    assert "BytesIO" in str(tg.open(tmp_path / "x").metadata["extra"])
