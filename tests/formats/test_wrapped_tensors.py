"""Tensors made of other tensors: nested ones, DTensors, unknown subclasses. None of them spoils its file."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from click.testing import CliRunner
from torch import nn
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, init_device_mesh
from torch.masked import masked_tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

import torchgraft as tg
from torchgraft.cli import commands
from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import Placeholder, read_container
from torchgraft.tensors import TensorRef

pytestmark = [
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors"),
]


def saved(tree: object, path: Path, *, zipped: bool = True) -> Any:
    torch.save(tree, path, _use_new_zipfile_serialization=zipped)
    return read_container(path).tree


@pytest.fixture
def two_ranks() -> Iterator[object]:
    """A mesh of two processes, of which only this one exists."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        yield init_device_mesh("cpu", (2,))
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_nested_tensor_is_its_values_and_sizes(zipped: bool, tmp_path: Path) -> None:
    rows = [torch.randn(2, 3), torch.randn(4, 3), torch.randn(1, 3)]
    tree = saved({"n": torch.nested.nested_tensor(rows), "w": torch.ones(2)}, tmp_path / "x", zipped=zipped)
    nested = tree["n"]
    assert isinstance(nested, Placeholder)
    assert nested.class_name == "torch.nested.nested_tensor"
    assert nested.tensors is not None
    buffer, sizes, strides, offsets = (
        nested.tensors[name].read() for name in ("buffer", "sizes", "strides", "offsets")
    )
    for row, size, step, at in zip(rows, sizes.tolist(), strides.tolist(), offsets.tolist(), strict=True):
        assert torch.equal(buffer.as_strided(size, step, at), row)
    assert tree["w"].read().tolist() == [1, 1]


def test_a_jagged_tensor_is_its_values_and_offsets(tmp_path: Path) -> None:
    rows = [torch.randn(2, 3), torch.randn(4, 3)]
    tensor = torch.nested.nested_tensor(rows, layout=torch.jagged)
    nested = saved({"n": tensor}, tmp_path / "x")["n"]
    assert nested.class_name == "torch.nested._internal.nested_tensor.NestedTensor"
    assert torch.equal(nested.tensors["values"].read(), tensor.values())
    assert torch.equal(nested.tensors["offsets"].read(), tensor.offsets())
    assert {key: nested.state[key] for key in ("ragged dimension", "min_seqlen", "max_seqlen")} == {
        "ragged dimension": 1,
        "min_seqlen": 2,
        "max_seqlen": 4,
    }


class Forged:
    """Pickles as a call of a function of PyTorch's."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[object, object]:
        return self.call


LONG = torch.ones(2, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    "args",
    [
        (torch.ones(3), LONG, LONG, LONG),
        (torch.ones(3), LONG.float(), LONG, LONG[0]),
        (torch.ones(3, 3), LONG, LONG, LONG[0]),
        (torch.ones(3), LONG, LONG[:1], LONG[0]),
        (torch.ones(3), LONG, LONG),
        (torch.ones(3), LONG, LONG, "offsets"),
    ],
)
def test_a_nested_tensor_whose_parts_do_not_fit_is_only_a_name(
    args: tuple[object, ...], tmp_path: Path
) -> None:
    tree = saved(
        {"n": Forged(torch._utils._rebuild_nested_tensor, *args), "w": torch.ones(2)}, tmp_path / "x"
    )
    assert tree["n"].class_name == "torch._utils._rebuild_nested_tensor"
    assert tree["n"].tensors is None
    assert tree["w"].read().tolist() == [1, 1]


def test_a_dtensor_that_is_whole_is_its_values(two_ranks: Any, tmp_path: Path) -> None:
    values = torch.randn(4, 3)
    whole = DTensor.from_local(values, two_ranks, [Replicate()], run_check=False)
    one = DTensor.from_local(values[:1], two_ranks, [Shard(0)], shape=torch.Size([1, 3]), stride=(3, 1))
    tree = saved({"whole": whole, "p": nn.Parameter(whole), "one": one}, tmp_path / "x")
    for name, wanted in {"whole": values, "p": values, "one": values[:1]}.items():
        assert isinstance(tree[name], TensorRef), name
        assert torch.equal(tree[name].read(), wanted)
        loaded = torch.load(tmp_path / "x", weights_only=False)[name]
        assert tree[name].shape == tuple(loaded.shape)


@pytest.mark.parametrize("placement", [Shard(0), Shard(1), Partial()], ids=str)
def test_a_dtensor_of_which_a_part_is_here_is_a_placeholder(
    placement: Any, two_ranks: Any, tmp_path: Path
) -> None:
    values = torch.randn(4, 3)
    part = DTensor.from_local(values, two_ranks, [placement], run_check=False)
    tree = saved({"layer.weight": part, "layer.bias": torch.ones(3)}, tmp_path / "x")
    found = tree["layer.weight"]
    assert (type(found), found.class_name) == (Placeholder, "torch.distributed.tensor.DTensor")
    assert f"[4, 3] of {list(part.shape)}" in found.why
    assert torch.equal(found.tensors["_local_tensor"].read(), values)
    checkpoint = tg.open(tmp_path / "x")
    assert {name: ref.shape for name, ref in checkpoint.items()} == {
        "layer.weight._local_tensor": (4, 3),
        "layer.bias": (3,),
    }
    assert "torch.distributed.tensor.DTensor" in checkpoint.classes
    described = checkpoint.metadata["layer.weight"]
    assert isinstance(described, dict)
    assert described["why"] == found.why


class Wrapper(torch.Tensor):
    """As torchao's: whole numbers and a scale, which only this class can multiply."""

    @staticmethod
    def __new__(cls, numbers: torch.Tensor, scale: torch.Tensor) -> Wrapper:
        return torch.Tensor._make_wrapper_subclass(cls, numbers.shape, dtype=torch.float32)  # type: ignore[attr-defined,no-any-return]

    def __init__(self, numbers: torch.Tensor, scale: torch.Tensor) -> None:
        self.numbers, self.scale = numbers, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["numbers", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if function is torch.ops.aten.detach.default else NotImplemented


def wrapped() -> dict[str, Any]:
    numbers, scale = torch.arange(6, dtype=torch.int8).view(2, 3), torch.tensor([0.5])
    inner = Wrapper(numbers, scale)
    outer = Wrapper(numbers, scale)
    outer.numbers = inner
    return {
        "plain": inner,
        "parameter": nn.Parameter(inner, requires_grad=False),
        "twice": outer,
        "masked": masked_tensor(torch.arange(3.0), torch.tensor([True, False, True])),
        "lazy": nn.UninitializedParameter(),
        "lazy buffer": nn.UninitializedBuffer(),
        "w": torch.ones(2),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_subclasses_that_are_not_known_are_placeholders(zipped: bool, tmp_path: Path) -> None:
    tree = saved(wrapped(), tmp_path / "x", zipped=zipped)
    parts = {
        name: {key: ref.read().tolist() for key, ref in (node.tensors or {}).items()}
        for name, node in tree.items()
        if isinstance(node, Placeholder)
    }
    numbers = {"numbers": [[0, 1, 2], [3, 4, 5]], "scale": [0.5]}
    assert parts == {
        "plain": numbers,
        "parameter": numbers,
        "twice": {**{f"numbers.{key}": value for key, value in numbers.items()}, "scale": [0.5]},
        "masked": {"_masked_data": [0, 1, 2], "_masked_mask": [True, False, True]},
        "lazy": {},
        "lazy buffer": {},
    }
    assert all(tree[name].why for name in parts)
    assert tree["lazy"].class_name == "torch.nn.parameter.UninitializedParameter"
    assert tree["masked"].class_name == "torch.masked.maskedtensor.core.MaskedTensor"
    assert tree["w"].read().tolist() == [1, 1]


def test_their_parts_are_among_the_weights(tmp_path: Path) -> None:
    torch.save({"model": wrapped(), "epoch": 3}, tmp_path / "x")
    checkpoint = tg.open(tmp_path / "x")
    assert checkpoint.part == "model"
    assert list(checkpoint)[:4] == ["plain.numbers", "plain.scale", "parameter.numbers", "parameter.scale"]
    assert checkpoint["masked._masked_data"].read().tolist() == [0, 1, 2]
    assert len(checkpoint) == 10
    shown = json.loads(CliRunner().invoke(commands, ["inspect", str(tmp_path / "x"), "--json"]).stdout)
    assert shown["metadata"]["model"]["lazy"]["class"] == "torch.nn.parameter.UninitializedParameter"
    assert "no shape yet" in shown["metadata"]["model"]["lazy"]["why"]
    assert [tensor["name"] for tensor in shown["tensors"]] == list(checkpoint)


def test_those_of_a_whole_module_are_too(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    net.weight = nn.Parameter(wrapped()["plain"], requires_grad=False)
    net.register_buffer("nested", torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]))
    torch.save(net, tmp_path / "x")
    assert [*tg.open(tmp_path / "x")][:4] == ["weight.numbers", "weight.scale", "bias", "nested.buffer"]


def test_a_wrapper_of_very_many_tensors_is_walked_and_not_listed(tmp_path: Path) -> None:
    tensor = wrapped()["plain"]
    tensor.more = {f"t{number}": torch.ones(1) for number in range(300)}
    tree = saved({"a": tensor, "b": torch.ones(2)}, tmp_path / "x")
    assert tree["a"].tensors is None
    parts = tg.open(tmp_path / "x", select=".").parts
    assert [(part.name, part.tensors) for part in parts] == [("", 1), ("a.more", 300)]


class OfState:
    """Pickles as a tensor of an unknown class with any state."""

    def __init__(self, state: object) -> None:
        self.state = state

    def __reduce__(self) -> tuple[object, object]:
        shape = (Wrapper, torch.float32, (2,), (1,), 0, torch.strided, "cpu", False)
        return torch._tensor._rebuild_from_type_v2, (
            torch._utils._rebuild_wrapper_subclass,
            Wrapper,
            shape,
            self.state,
        )


def test_a_state_that_is_told_over_and_over_takes_no_time(tmp_path: Path) -> None:
    state: Any = {}
    for _ in range(6):
        state = dict.fromkeys(map(str, range(1000)), state)
    tree = saved({str(number): OfState(state) for number in range(2000)}, tmp_path / "x")
    assert all(node.tensors is None for node in tree.values())
    state = dict.fromkeys(range(100_000), 0)
    tree = saved({str(number): OfState(state) for number in range(2000)}, tmp_path / "x")
    assert all(node.tensors == {} for node in tree.values())


def test_a_tensor_that_stands_in_very_many_places_is_refused(tmp_path: Path) -> None:
    once = Wrapper(torch.ones(2), torch.ones(1))
    torch.save(dict.fromkeys(map(str, range(100)), once), tmp_path / "x")
    assert len(tg.open(tmp_path / "x")) == 200
    torch.save(dict.fromkeys(map(str, range(20_000)), once), tmp_path / "x")
    with pytest.raises(UnsafeCheckpointError, match=r"x: the same tensors made of others stand in it over"):
        tg.open(tmp_path / "x")


@pytest.mark.parametrize("name", ["float4_e2m1fn_x2", "bits8", "bits16"])
def test_a_dtype_that_is_not_known_is_its_bytes(name: str, tmp_path: Path) -> None:
    raw = torch.arange(8, dtype=torch.uint8)
    tree = saved({"x": raw.view(getattr(torch, name)), "w": torch.ones(2)}, tmp_path / "x")
    assert tree["x"].tensors["bytes"].read().tolist() == raw.tolist()
    assert name in tree["x"].why
    assert tree["w"].read().tolist() == [1, 1]


class _Later:
    """A storage class that PyTorch may get one day."""


_Later.__module__, _Later.__qualname__, _Later.__name__ = "torch", "UInt33Storage", "UInt33Storage"


class _Stored:
    """Pickles as a tensor of a storage of any class."""

    def __init__(self, kind: type, key: str, numel: int) -> None:
        self.id = ("storage", kind, key, "cpu", numel)

    def __reduce__(self) -> tuple[object, object]:
        numel = self.id[-1]
        return torch._utils._rebuild_tensor_v2, (_Reference(self.id), 0, (numel,), (1,), False, {})


class _Reference:
    def __init__(self, key: object) -> None:
        self.key = key


class _Pickler(pickle.Pickler):
    def persistent_id(self, node: object) -> object:
        return node.key if isinstance(node, _Reference) else None


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A pickle of two tensors, the first of such a class."""
    monkeypatch.setattr(torch, "UInt33Storage", _Later, raising=False)
    buffer = io.BytesIO()
    tree = {"x": _Stored(_Later, "0", 5), "w": _Stored(torch.FloatStorage, "1", 2)}
    _Pickler(buffer, 2).dump(tree)
    return buffer.getvalue()


def test_a_storage_class_that_is_not_known_spoils_its_tensors_alone(
    later: bytes, pack: Callable[..., Path]
) -> None:
    path = pack(later, {"0": b"abcdef", "1": struct.pack("<2f", 1, 2)})
    tree: Any = read_container(path).tree
    assert isinstance(tree["x"], Placeholder)
    assert "UInt33Storage" in tree["x"].why
    assert bytes(tree["x"].tensors["bytes"].read().tolist()) == b"abcdef"
    assert tree["w"].read().tolist() == [1, 2]


def test_in_an_old_file_nothing_behind_it_could_be_found(later: bytes, tmp_path: Path) -> None:
    magic, protocol = torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION
    parts = [magic, protocol, {"little_endian": True}]
    (tmp_path / "x").write_bytes(b"".join(pickle.dumps(part, 2) for part in parts) + later)
    with pytest.raises(CorruptCheckpointError, match=r"x: .*UInt33Storage is not a storage that is known"):
        read_container(tmp_path / "x")


def test_no_class_is_imported(tmp_path: Path) -> None:
    torch.save(wrapped(), tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "x") as source, zipfile.ZipFile(tmp_path / "y", "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"Wrapper\n", b"Wroppor\n"))
    tree: Any = read_container(tmp_path / "y").tree
    assert tree["plain"].class_name.endswith(".Wroppor")
    assert tree["plain"].tensors["scale"].read().tolist() == [0.5]
