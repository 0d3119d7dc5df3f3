"""Checkpoints of several files far away: the tensors of local ones, in few requests and in parallel."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import fsspec
import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem
from gguf import GGUFWriter
from safetensors.torch import save_file

import torchgraft as tg
from torchgraft.cli import commands
from torchgraft.errors import (
    CheckpointError,
    CorruptCheckpointError,
    FetchError,
    NoWeightsError,
    UnsafeCheckpointError,
)
from torchgraft.storage import folder as storage_folder
from torchgraft.zoo.sources import find_source
from torchgraft.zoo.weights import open_weights

if TYPE_CHECKING:
    from .conftest import Answer, RangeServer

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled, unavailable or uninitialized")

NAMES = (f"remote{number}" for number in itertools.count())
INDEX = "model.safetensors.index.json"
SHARDS = 5


def shard(number: int) -> str:
    return f"model-{number:05}-of-{SHARDS:05}.safetensors"


def write_shards(folder: Path, rows: int = 200) -> dict[str, torch.Tensor]:
    """Five shards of four tensors, and the index."""
    torch.manual_seed(0)
    places, tensors = {}, {}
    for number in range(1, SHARDS + 1):
        own = {f"layer{number}.{name}": torch.randn(rows, 100) for name in ("q", "k", "v", "o")}
        save_file(own, folder / shard(number))
        tensors |= own
        places |= dict.fromkeys(own, shard(number))
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return tensors


@pytest.fixture
def local(tmp_path: Path) -> Path:
    (tmp_path / "local").mkdir()
    return tmp_path / "local"


@pytest.fixture
def upload() -> Iterator[Callable[[Path], str]]:
    """Copies a folder to the file system in memory, and says at which address it is."""
    system, made = fsspec.filesystem("memory"), []

    def copy(folder: Path) -> str:
        made.append(name := f"/{next(NAMES)}")
        for path in folder.rglob("*"):
            if path.is_file():
                system.pipe_file(f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return f"memory:/{name}"

    yield copy
    for name in made:
        system.rm(name, recursive=True)


def serve(server: RangeServer, folder: Path, name: str = INDEX) -> str:
    server.files = {f"repo/{quote(path.name)}": path.read_bytes() for path in folder.iterdir()}
    return server.address(f"repo/{quote(name)}", user="me:SECRET@") + "?token=SECRET"


def assert_same(ours: tg.Checkpoint, theirs: tg.Checkpoint) -> None:
    assert list(ours) == list(theirs)
    for key, ref in theirs.items():
        assert (ours[key].shape, ours[key].dtype) == (ref.shape, ref.dtype)
        assert torch.equal(ours[key].read(), ref.read())


def test_shards_by_their_index_on_the_web(server: RangeServer, local: Path) -> None:
    write_shards(local, rows=800)
    address = serve(server, local)
    checkpoint = tg.open(address)
    assert checkpoint.format == "safetensors shards"
    assert (checkpoint.path, checkpoint.name) == (None, f"{server.address('repo/' + INDEX)}?…")
    assert server.log.requests == SHARDS + 1
    assert server.log.sent <= (SHARDS + 1) * (1 << 16)
    assert all(headers["Authorization"] for headers in server.log.headers)
    server.log.clear()
    twin = tg.open(local)
    assert torch.equal(checkpoint["layer3.k"][500:504], twin["layer3.k"][500:504])
    assert (server.log.requests, server.log.sent < 100_000) == (1, True)
    server.log.clear()
    read = checkpoint.state_dict()
    assert all(torch.equal(read[key], ref.read()) for key, ref in twin.items())
    assert server.log.requests <= 2 * SHARDS
    assert "SECRET" not in str(checkpoint)


def test_headers_come_in_parallel(server: RangeServer, local: Path) -> None:
    """The first answer to a shard is held back until another shard has been asked for."""
    write_shards(local)
    address = serve(server, local)
    both = threading.Event()
    asked = itertools.count(1)

    def lie(before: int, answer: Answer, _asked: Message) -> Answer:
        if before:
            if next(asked) == 2:
                both.set()
            assert both.wait(20)
        return answer

    server.lie = lie
    assert len(tg.open(address)) == 4 * SHARDS


def test_a_graft_reads_from_the_shards_it_needs(server: RangeServer, local: Path) -> None:
    tensors = write_shards(local)
    model = torch.nn.Module()
    for name in ("q", "v"):
        model.register_parameter(name, torch.nn.Parameter(torch.zeros(200, 100)))
    outer = torch.nn.Module()
    outer.add_module("layer4", model)
    plan = tg.plan(outer, serve(server, local))
    server.log.clear()
    plan.apply()
    assert torch.equal(model.v, tensors["layer4.v"])
    assert server.log.sent <= 4 * tensors["layer4.v"].nbytes + (1 << 17)
    assert server.log.requests <= 2


@pytest.mark.parametrize("way", ["", "/", f"/{INDEX}"])
def test_shards_in_a_store(way: str, local: Path, upload: Callable[[Path], str]) -> None:
    write_shards(local)
    (local / "config.json").write_text("{}")
    address = upload(local)
    checkpoint = tg.open(address + way)
    assert checkpoint.name == f"{address}/{INDEX}"
    assert_same(checkpoint, tg.open(local / INDEX))


def test_a_folder_without_the_usual_names(local: Path, upload: Callable[[Path], str]) -> None:
    save_file({"w": torch.ones(3)}, local / "adapter_model.safetensors")
    (local / "adapter_config.json").write_text('{"r": 8}')
    (local / "optimizer.pt").write_bytes(b"not opened")
    checkpoint = tg.open(upload(local))
    assert checkpoint.metadata["adapter_config"] == {"r": 8}
    assert checkpoint.metadata["other files"] == {"adapter_config.json": 8, "optimizer.pt": 10}
    assert checkpoint["w"].read().tolist() == [1, 1, 1]


def test_a_folder_of_several_checkpoints(local: Path, upload: Callable[[Path], str]) -> None:
    for name in ("a.pt", "b.pt"):
        torch.save({"w": torch.ones(2)}, local / name)
    address = upload(local)
    with pytest.raises(NoWeightsError, match=r"2 checkpoints, .*: a\.pt, b\.pt") as caught:
        tg.open(address)
    assert f"{address}/a.pt" in str(caught.value.hint)


def test_a_folder_of_folders(local: Path, upload: Callable[[Path], str]) -> None:
    (local / "checkpoint-5").mkdir()
    write_shards(local / "checkpoint-5", rows=2)
    (local / "logs").mkdir()
    (local / "logs" / "x").write_bytes(b"x")
    address = upload(local)
    with pytest.raises(CheckpointError, match="there are some in checkpoint-5") as caught:
        tg.open(address)
    assert f"{address}/checkpoint-5" in str(caught.value.hint)
    assert len(tg.open(f"{address}/checkpoint-5")) == 4 * SHARDS


OUTER = [
    "../secret.safetensors",
    "sub/../../secret.safetensors",
    "/secret.safetensors",
    "//evil/secret",
    "..\\x",
]


@pytest.mark.parametrize("place", OUTER)
def test_an_index_cannot_lead_out(
    place: str,
    server: RangeServer,
    local: Path,
    upload: Callable[[Path], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (local / INDEX).write_text(json.dumps({"weight_map": {"w": place}}))
    address = serve(server, local)
    with pytest.raises(UnsafeCheckpointError, match=r"/repo.*: the path .* leads out of the folder"):
        tg.open(address)
    assert server.log.requests == 1
    stored = upload(local)
    asked = []
    original = MemoryFileSystem.cat_file

    def cat_file(self: MemoryFileSystem, path: str, *args: object, **options: object) -> bytes:
        asked.append(path.rpartition("/")[2])
        return bytes(original(self, path, *args, **options))

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    with pytest.raises(UnsafeCheckpointError, match="leads out of the folder"):
        tg.open(stored)
    assert set(asked) == {INDEX}


@pytest.mark.parametrize("place", ["https://evil/x.safetensors", "file:///etc/passwd", "memory://other/x"])
def test_an_address_in_an_index_is_a_name(
    place: str, server: RangeServer, local: Path, upload: Callable[[Path], str]
) -> None:
    (local / INDEX).write_text(json.dumps({"weight_map": {"w": place}}))
    for address in (serve(server, local), upload(local)):
        with pytest.raises(CorruptCheckpointError, match=f"missing files: {place}"):
            tg.open(address)


def test_missing_and_lying_shards_are_named(
    server: RangeServer, local: Path, upload: Callable[[Path], str]
) -> None:
    write_shards(local, rows=2)
    (local / shard(2)).unlink()
    (local / shard(4)).unlink()
    save_file({"other": torch.ones(1)}, local / shard(5))
    for address in (serve(server, local), upload(local)):
        with pytest.raises(CorruptCheckpointError) as caught:
            tg.open(address)
        assert f"missing files: {shard(2)}, {shard(4)}" in str(caught.value)
        assert "'other' is in" in str(caught.value)
        assert "'layer5.q' is not in" in str(caught.value)
        assert "SECRET" not in str(caught.value)


def test_a_shard_that_changes_while_it_is_read(server: RangeServer, local: Path) -> None:
    write_shards(local)
    checkpoint = tg.open(serve(server, local))

    def lie(_before: int, answer: Answer, _asked: Message) -> Answer:
        return answer.but(ETag='"second"')

    server.lie = lie
    with pytest.raises(FetchError, match=rf"{shard(2)}\?…: the file changed while it was read"):
        checkpoint["layer2.q"].read()


def test_a_server_that_forbids_one_shard(server: RangeServer, local: Path) -> None:
    write_shards(local, rows=2)
    address = serve(server, local)
    hidden = len(server.files[f"repo/{shard(3)}"])
    server.files[f"repo/{shard(3)}"] += b" " * 7

    def lie(_before: int, answer: Answer, _asked: Message) -> Answer:
        if f"/{hidden + 7}" in answer.headers.get("Content-Range", ""):
            return replace(answer, status=403, body=b"").but(Content_Range=None, Content_Length="0")
        return answer

    server.lie = lie
    with pytest.raises(FetchError, match=rf"{shard(3)}\?…: the server answers 403"):
        tg.open(address)


def test_a_server_without_ranges(server: RangeServer, local: Path) -> None:
    write_shards(local, rows=2)
    address = serve(server, local)

    def lie(_before: int, answer: Answer, asked: Message) -> Answer:
        if answer.status != 206:
            return answer
        total = int(answer.headers["Content-Range"].rpartition("/")[2])
        content = next(content for content in server.files.values() if len(content) == total)
        matching = [content for content in server.files.values() if content.startswith(answer.body[:200])]
        body = matching[0] if matching else content
        return replace(answer, status=200, body=body).but(Content_Range=None, Content_Length=str(len(body)))

    server.lie = lie
    checkpoint = tg.open(address)
    assert checkpoint.name == f"{server.address('repo/' + INDEX)}?…"
    assert_same(checkpoint, tg.open(local))


def test_an_index_of_very_many_files(
    server: RangeServer, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(local, rows=2)
    monkeypatch.setattr(storage_folder, "_MAX_FAR", SHARDS - 1)
    with pytest.raises(UnsafeCheckpointError, match=r"it is in 5 files; from afar 4 are opened") as caught:
        tg.open(serve(server, local))
    assert "download the folder" in str(caught.value.hint)
    assert server.log.requests == 1
    assert len(tg.open(local)) == 4 * SHARDS


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """What is read of the store in memory: file, offset, length."""
    read: list[tuple[str, int, int]] = []
    original = MemoryFileSystem.cat_file

    def cat_file(self: MemoryFileSystem, path: str, start: int, end: int, **options: object) -> bytes:
        read.append((path.rpartition("/")[2], start, end - start))
        return bytes(original(self, path, start, end, **options))

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    return read


def test_a_distributed_checkpoint_in_a_store(
    local: Path, upload: Callable[[Path], str], counted: list[tuple[str, int, int]]
) -> None:
    torch.manual_seed(0)
    model = {f"layer{number}.weight": torch.randn(300, 100) for number in range(20)}
    state = {"model": model, "epoch": 3, "texts": {f"t{number}": f"text {number}" for number in range(30)}}
    dcp.save(state, checkpoint_id=local)
    checkpoint = tg.open(upload(local))
    assert checkpoint.metadata["epoch"] == 3
    texts = checkpoint.metadata["texts"]
    assert isinstance(texts, dict)
    assert texts["t7"] == "text 7"
    assert len(counted) <= 6
    assert sum(length for _, _, length in counted) < 400_000
    counted.clear()
    assert torch.equal(checkpoint["layer7.weight"].read(), model["layer7.weight"])
    assert len(counted) == 1
    assert counted[0][2] < model["layer7.weight"].nbytes + 5_000
    counted.clear()
    read = checkpoint.state_dict()
    assert all(torch.equal(read[key], tensor) for key, tensor in model.items())
    assert len(counted) <= 3


def test_a_distributed_checkpoint_on_the_web_by_its_metadata(server: RangeServer, local: Path) -> None:
    model = {"w": torch.randn(30, 10)}
    dcp.save({"model": model}, checkpoint_id=local)
    checkpoint = tg.open(serve(server, local, ".metadata"))
    assert checkpoint.format == "torch distributed"
    assert torch.equal(checkpoint["w"].read(), model["w"])


def test_a_missing_file_of_a_distributed_checkpoint(local: Path, upload: Callable[[Path], str]) -> None:
    dcp.save({"model": {"w": torch.randn(3)}}, checkpoint_id=local)
    (local / "__0_0.distcp").unlink()
    with pytest.raises(CorruptCheckpointError, match=r"memory://.*: files .* missing: __0_0\.distcp"):
        tg.open(upload(local))


def test_a_split_gguf_far_away(server: RangeServer, local: Path, upload: Callable[[Path], str]) -> None:
    writer = GGUFWriter(local / "my model.gguf", "llama", split_max_tensors=2)
    for number in range(5):
        writer.add_tensor(f"t{number}", np.full((4, 4), number, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    name = "my model-00002-of-00003.gguf"
    stored = upload(local)
    for address in (serve(server, local, name), f"{stored}/{name}", stored):
        checkpoint = tg.open(address)
        assert {key: int(ref[0, 0]) for key, ref in checkpoint.items()} == {f"t{n}": n for n in range(5)}


def test_models_take_weights_from_an_index(server: RangeServer, local: Path) -> None:
    write_shards(local, rows=2)
    source, inner = find_source("torchvision/resnet18")
    there, published = open_weights(source, inner, serve(server, local))
    assert published is None
    assert_same(there, tg.open(local))


def test_on_the_command_line(server: RangeServer, local: Path) -> None:
    write_shards(local, rows=2)
    shown = CliRunner().invoke(commands, ["inspect", serve(server, local), "--json"])
    data = json.loads(shown.stdout)
    assert data["file"] == f"{server.address('repo/' + INDEX)}?…"
    assert data["format"] == "safetensors shards"
    assert [tensor["name"] for tensor in data["tensors"]] == list(tg.open(local / INDEX))
    assert "SECRET" not in shown.stdout
