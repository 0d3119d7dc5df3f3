"""Checkpoints at addresses: opened, planned, grafted; what that asks for, and what goes wrong."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import nn

import torchgraft as tg
from torchgraft.cli import commands
from torchgraft.errors import CheckpointError, CorruptCheckpointError, FetchError, UnknownFormatError
from torchgraft.storage import remote
from torchgraft.zoo.sources import find_source
from torchgraft.zoo.weights import open_weights

if TYPE_CHECKING:
    from .conftest import Answer, Lie, RangeServer

KIB = 1 << 10
KINDS = ["zip", "legacy", "safetensors"]


class Net(nn.Module):
    """Its backbone is a tenth of what the file holds, in the middle of it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(*(nn.Linear(100, 100) for _ in range(20)))
        self.head = nn.Linear(100, 3)


def write(kind: str, path: Path, tensors: dict[str, torch.Tensor]) -> bytes:
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")
    return path.read_bytes()


def stored() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    backbone = Net().state_dict()
    before = {f"a_text.{i}": torch.randn(100, 1_000) for i in range(9)}
    after = {f"text.{i}": torch.randn(100, 1_000) for i in range(9)}
    return {**before, **backbone, **after}


@pytest.fixture
def serve(server: RangeServer, tmp_path: Path) -> Callable[[str], tuple[str, Path]]:
    """Writes a checkpoint and puts it on the server: its address and its path."""

    def make(kind: str) -> tuple[str, Path]:
        path = tmp_path / "model"
        server.files["model"] = write(kind, path, stored())
        return server.address(user="me:SECRET@") + "?token=SECRET", path

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_opening_reads_the_header_alone(
    kind: str, serve: Callable[[str], tuple[str, Path]], server: RangeServer
) -> None:
    address, path = serve(kind)
    ckpt = tg.open(address)
    assert server.log.requests <= 4
    assert server.log.sent < 256 * KIB
    assert ckpt.path is None
    assert ckpt.name == f"{server.address()}?…"
    assert list(ckpt) == list(tg.open(path))
    assert str(ckpt).startswith(f"{ckpt.name} ({ckpt.format})")
    assert repr(ckpt) == f"<Checkpoint {ckpt.name}: {len(ckpt)} tensors>"
    assert "SECRET" not in str(ckpt) + repr(ckpt)


@pytest.mark.parametrize("kind", KINDS)
def test_a_graft_reads_what_the_plan_needs_and_gives_what_a_local_one_does(
    kind: str, serve: Callable[[str], tuple[str, Path]], server: RangeServer
) -> None:
    address, path = serve(kind)
    torch.manual_seed(1)
    model, twin = Net(), Net()
    twin.load_state_dict(model.state_dict())
    plan = tg.plan(model, address)
    assert plan.checkpoint == f"{server.address()}?…"
    header = server.log.sent
    assert header < 256 * KIB
    server.log.clear()
    plan.apply()
    tg.graft(twin, path)
    ours, theirs = model.state_dict(), twin.state_dict()
    assert all(torch.equal(ours[key].view(torch.int32), theirs[key].view(torch.int32)) for key in theirs)
    assert torch.equal(ours["backbone.7.weight"], stored()["backbone.7.weight"])
    needed = sum(tensor.nbytes for tensor in ours.values())
    assert 0.09 < needed / path.stat().st_size < 0.11
    assert server.log.sent <= needed + 64 * KIB
    # the old format has tensors in the order of their addresses in memory
    assert server.log.requests <= (len(theirs) if kind == "legacy" else 2)


@pytest.mark.parametrize("kind", KINDS)
def test_reading_everything(kind: str, serve: Callable[[str], tuple[str, Path]], server: RangeServer) -> None:
    address, path = serve(kind)
    ckpt = tg.open(address)
    server.log.clear()
    read = ckpt.state_dict()
    assert all(torch.equal(read[key], tensor) for key, tensor in tg.open(path).state_dict().items())
    assert server.log.requests <= 3
    assert server.log.sent <= path.stat().st_size


def test_another_part_of_the_same_file_needs_no_header_again(server: RangeServer, tmp_path: Path) -> None:
    state = nn.Linear(5, 5).state_dict()
    torch.save({"model": state, "model_ema": {k: v + 1 for k, v in state.items()}}, tmp_path / "x")
    server.files["model"] = (tmp_path / "x").read_bytes()
    ckpt = tg.open(server.address(), select="model_ema")
    server.log.clear()
    assert torch.equal(ckpt.select("model")["bias"].read() + 1, ckpt["bias"].read())
    assert server.log.requests == 0  # so small that it came with the header


def test_without_pytorch_until_something_is_read(
    serve: Callable[[str], tuple[str, Path]], server: RangeServer
) -> None:
    address, _ = serve("zip")
    code = (
        "import sys, torchgraft as tg\n"
        f"ckpt = tg.open({address!r})\n"
        "str(ckpt)\n"
        "assert not {'torch', 'fsspec', 'numpy'} & sys.modules.keys()\n"
        "ckpt['text.3'][:1]\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_server_without_ranges(
    serve: Callable[[str], tuple[str, Path]],
    server: RangeServer,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    address, path = serve("zip")

    def lie(_before: int, answer: Answer, _asked: Message) -> Answer:
        whole = replace(answer, status=200, body=server.files["model"])
        return whole.but(Content_Range=None, Content_Length=str(len(whole.body)))

    server.lie = lie
    with caplog.at_level(logging.WARNING, "torchgraft"):
        ckpt = tg.open(address)
    assert "whole files only" in caplog.text
    assert "SECRET" not in caplog.text + str(ckpt) + str(ckpt.path)
    assert ckpt.name == f"{server.address()}?…"
    assert ckpt.path is not None
    assert ckpt.path.is_relative_to(tmp_path / "cache")
    assert torch.equal(ckpt["text.3"].read(), tg.open(path)["text.3"].read())
    assert server.log.requests == 3  # the last one asks for a digest beside it
    tg.open(address)
    assert server.log.requests == 3  # the copy in the cache is used


def other(status: int = 206, **headers: str | None) -> Lie:
    def lie(_before: int, answer: Answer, _asked: Message) -> Answer:
        return replace(answer, status=status).but(**headers)

    return lie


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lie", [other(ETag='"second"'), other(200), other(Content_Range="bytes 0-1/2")])
def test_a_file_that_changes_meanwhile_leaves_the_model_as_it_was(
    lie: Lie, kind: str, serve: Callable[[str], tuple[str, Path]], server: RangeServer
) -> None:
    address, _ = serve(kind)
    model = Net()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    plan = tg.plan(model, address)
    server.log.clear()
    server.lie = lie
    with pytest.raises(FetchError, match="changed while it was read") as caught:
        plan.apply()
    assert "SECRET" not in str(caught.value)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"<!DOCTYPE html><html>log in</html>", UnknownFormatError, "web page"),
        (b"", CorruptCheckpointError, "empty"),
        (b"PK\x03\x04" + bytes(100), CorruptCheckpointError, "truncated"),
        ((1 << 39).to_bytes(8, "little") + b"{}", CheckpointError, "header"),
    ],
)
def test_what_is_no_checkpoint(
    content: bytes, error: type[CheckpointError], message: str, server: RangeServer
) -> None:
    server.files["model"] = content
    with pytest.raises(error, match=message) as caught:
        tg.open(server.address(user="me:SECRET@"))
    assert server.address() in str(caught.value)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_makes_the_file_longer_than_it_is(
    kind: str, serve: Callable[[str], tuple[str, Path]], server: RangeServer
) -> None:
    """No size that only the server vouches for is allocated."""
    address, _ = serve(kind)

    def lie(_before: int, answer: Answer, _asked: Message) -> Answer:
        honest = answer.headers.get("Content-Range")
        return answer.but(Content_Range=honest.rpartition("/")[0] + f"/{10**17}") if honest else answer

    server.lie = lie
    if kind == "legacy":  # nothing in it says where it ends
        assert len(tg.open(address)) == len(stored())
    else:
        with pytest.raises((CorruptCheckpointError, FetchError), match=r"changed|tensors take"):
            tg.open(address)


@pytest.mark.parametrize("path", ["", "repo/"])
def test_a_folder_on_a_web_server_cannot_be_listed(path: str, server: RangeServer) -> None:
    with pytest.raises(CheckpointError, match="folder on a web server") as caught:
        tg.open(server.address(path, user="me:SECRET@") + "?sig=SECRET")
    assert "SECRET" not in str(caught.value)
    assert "model.safetensors.index.json" in str(caught.value.hint)
    assert server.log.requests == 0


def test_through_fsspec(tmp_path: Path) -> None:
    content = write("safetensors", tmp_path / "x", stored())
    system = fsspec.filesystem("memory")
    system.pipe_file("/test_remote/model.safetensors", content)
    model = Net()
    plan = tg.plan(model, "memory://test_remote")
    assert plan.checkpoint == "memory://test_remote/model.safetensors"
    plan.apply()
    assert torch.equal(model.backbone[7].weight, stored()["backbone.7.weight"])
    plan = tg.plan(model, "memory://test_remote/model.safetensors")
    system.pipe_file("/test_remote/model.safetensors", content)
    with pytest.raises(FetchError, match="changed"):
        plan.apply()
    system.pipe_file("/test_remote/empty", b"")
    with pytest.raises(CorruptCheckpointError, match=r"memory://test_remote/empty: .*empty"):
        tg.open("memory://test_remote/empty")
    system.rm("/test_remote", recursive=True)


def test_models_take_weights_from_addresses(
    serve: Callable[[str], tuple[str, Path]], server: RangeServer, tmp_path: Path
) -> None:
    """Published ones, on the web, are downloaded and kept; others are read where they are."""
    address, path = serve("zip")
    kept, _ = open_weights(find_source("torchvision/resnet18")[0], "resnet18", address)
    assert kept.path is not None
    assert kept.path.is_relative_to(tmp_path / "cache")
    fsspec.filesystem("memory").pipe_file("/test_models/x.pth", path.read_bytes())
    there, _ = open_weights(find_source("torchvision/resnet18")[0], "resnet18", "memory://test_models/x.pth")
    assert (there.path, there.name) == (None, "memory://test_models/x.pth")
    fsspec.filesystem("memory").rm("/test_models", recursive=True)


def test_on_the_command_line(serve: Callable[[str], tuple[str, Path]], server: RangeServer) -> None:
    address, path = serve("safetensors")
    shown = CliRunner().invoke(commands, ["inspect", address])
    assert shown.exit_code == 0
    assert f"{server.address()}?…" in shown.output
    assert "SECRET" not in shown.output
    data = json.loads(CliRunner().invoke(commands, ["inspect", address, "--json"]).stdout)
    assert data["file"] == f"{server.address()}?…"
    assert [tensor["name"] for tensor in data["tensors"]] == list(tg.open(path))
    failed = CliRunner().invoke(commands, ["inspect", server.address("absent?SECRET"), "--json"])
    assert failed.exit_code == 8
    assert "SECRET" not in failed.output


def test_a_path_that_looks_a_little_like_an_address(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        tg.open(tmp_path / "https:" / "x.pth")


def test_the_name_is_told_where_weights_are_in_memory() -> None:
    assert tg.Checkpoint.from_state_dict({}).name == "weights in memory"
    assert tg.plan(Net(), Net()).checkpoint == "weights in memory"


def test_only_addresses_lead_to_the_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        pytest.fail("a local file is no reason to ask anybody")

    monkeypatch.setattr(remote, "open_address", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    path = tmp_path / "x"
    write("zip", path, stored())
    tg.graft(Net(), path)
