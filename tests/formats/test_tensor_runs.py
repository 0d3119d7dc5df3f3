"""Tensors read many at a time: the same as one by one, whatever the file is like, and refused alike."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from torchgraft.errors import CheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.container import Placeholder
from torchgraft.formats.pickles import tensor_runs
from torchgraft.formats.stored_run import StoredRef
from torchgraft.formats.stored_tensor import Storage
from torchgraft.tensors import TensorRef

Check = Callable[[object, object], None]


def state(count: int = 300) -> dict[str, torch.Tensor]:
    """As of a model with batch norms: four kinds of tensors, one of them a number."""
    made: dict[str, torch.Tensor] = {}
    for n in range(count):
        made[f"layers.{n}.weight"] = torch.arange(6.0).view(2, 3) + n
        made[f"layers.{n}.bias"] = torch.full((3,), n, dtype=torch.float16)
        made[f"layers.{n}.num_batches_tracked"] = torch.tensor(n)
    return made


def tied(count: int = 300) -> dict[str, object]:
    made: dict[str, object] = {**state(count)}
    made["head.weight"] = made["layers.7.weight"]  # the same object: it is got from the memo
    made["head.bias"] = made["layers.250.bias"].detach()  # type: ignore[attr-defined]  # the same storage
    made["again"] = {**state(5), "last": made["layers.299.weight"]}
    return made


def views() -> dict[str, torch.Tensor]:
    whole = torch.arange(3000.0)
    return {f"part.{n}": whole[n * 3 : n * 3 + 3] for n in range(1000)} | state(20)


CASES: dict[str, Callable[[], object]] = {
    "a state dict": state,
    "nested": lambda: {"epoch": 3, "state_dict": state(), "ema": state(), "lr": 0.1},
    "tied": tied,
    "views of one storage": views,
    "many classes kept under long numbers": lambda: {
        "notes": [f"note {n}" for n in range(400)],
        **{
            f"w{n}": torch.ones(2, dtype=d)
            for n, d in enumerate([torch.int8, torch.bfloat16, torch.bool] * 200)
        },
    },
    "names that are no plain text": lambda: {
        f"{'ä' if n % 50 == 0 else ''}w {n}" if n % 30 == 0 else f"w{n}": torch.ones(2) for n in range(600)
    },
    "names that look like the pickle": lambda: {f"X{n}rrrrh((QR)tu(q{n}": torch.ones(1) for n in range(600)},
    "long names": lambda: {f"{'layer' * (n % 70)}.{n}": torch.ones(1) for n in range(600)},
    "five dimensions, and none at all": lambda: {
        f"w{n}": torch.ones([1] * (n % 7)) if n % 5 else torch.empty(0, 2) for n in range(600)
    },
    "sizes of all widths": lambda: {
        f"w{n}": torch.empty(1).expand([1, 300, 70_000][n % 3], 2) for n in range(600)
    },
    "gradients wanted": lambda: {f"w{n}": torch.ones(2, requires_grad=n % 2 == 0) for n in range(600)},
    "a list between": lambda: {"a": state(200), "b": [torch.ones(2)] * 3, "c": state(200)},
}


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        with monkeypatch.context() as patch:
            patch.setattr(tensor_runs, "_WORTH_WHILE", 1 << 60)
            return read_container(path).tree

    return read


def shown(node: object) -> object:
    """A tree as plain data that can be compared."""
    if isinstance(node, TensorRef):
        return (
            node.shape,
            node.dtype,
            node.alias,
            node.read().reshape(-1).view(torch.uint8).tolist(),
        )
    if isinstance(node, dict):
        return {repr(key): shown(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [shown(value) for value in node]
    if isinstance(node, Placeholder):
        return node.class_name, shown(node.args), shown(node.state), shown(node.items)
    return repr(node) if not isinstance(node, Storage) else (node.key, node.dtype, node.nbytes)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", CASES)
def test_like_torch(
    name: str, protocol: int, tmp_path: Path, assert_same: Check, one_by_one: Callable[[Path], object]
) -> None:
    path = tmp_path / "made.pth"
    torch.save(CASES[name](), path, pickle_protocol=protocol)
    tree = read_container(path).tree
    if "sizes" not in name:
        assert_same(
            tree,
            torch.load(path, weights_only=False),
        )
    assert _aliases(tree) == _aliases(one_by_one(path))


def _aliases(node: object) -> list[object]:
    if isinstance(node, TensorRef):
        return [(node.shape, node.dtype, node.alias)]
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [alias for child in children for alias in _aliases(child)]


@pytest.mark.parametrize("protocol", [2, 4])
def test_most_are_read_together(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "made.pth"
    torch.save(state(1000), path, pickle_protocol=protocol)
    tree = read_container(path).tree
    assert isinstance(tree, dict)
    assert sum(type(ref) is StoredRef for ref in tree.values()) > 2800


def test_the_old_format(tmp_path: Path, assert_same: Check) -> None:
    path = tmp_path / "made.pth"
    torch.save(tied(1000), path, _use_new_zipfile_serialization=False)
    tree = read_container(path).tree
    assert isinstance(tree, dict)
    assert_same(
        tree,
        torch.load(path, weights_only=False),
    )
    assert sum(type(ref) is StoredRef for ref in tree.values()) > 2800


def test_it_is_a_tensor_like_any_other(tmp_path: Path) -> None:
    from dataclasses import replace

    path = tmp_path / "made.pth"
    torch.save(state(), path)
    tree = read_container(path).tree
    assert isinstance(tree, dict)
    ref = tree["layers.290.weight"]
    assert type(ref) is StoredRef
    renamed = replace(ref, name="other")
    assert type(renamed) is TensorRef
    assert renamed.read().tolist() == ref[...].tolist()
    assert replace(ref, layout="") == ref == replace(ref)
    assert hash(replace(ref)) == hash(ref)
    assert ref != renamed
    with pytest.raises(AttributeError):
        ref.other  # noqa: B018


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("seed", range(60))
def test_damaged_alike(
    protocol: int, seed: int, tmp_path: Path, one_by_one: Callable[[Path], object], pack: Callable[..., Path]
) -> None:
    """A changed byte, piece or number of the memo: the same tree, or the same refusal."""
    buffer = io.BytesIO()
    torch.save(tied() if seed % 2 else state(), buffer, pickle_protocol=protocol)
    with zipfile.ZipFile(buffer) as archive:
        root = archive.namelist()[0].partition("/")[0]
        data = bytearray(archive.read(f"{root}/data.pkl"))
        storages = {
            name.rpartition("/")[2]: archive.read(name)
            for name in archive.namelist()
            if name.startswith(f"{root}/data/")
        }
    random_ = random.Random(seed)
    for _ in range(random_.choice([1, 1, 3])):
        at = random_.randrange(2000, len(data) - 200)
        match seed % 4:
            case 0:
                data[at] = random_.choice([random_.randrange(256), 0x72, 0x71, 0x68, 0x6A, 0x75, 0x94, 0x28])
            case 1:
                data[at] ^= 1 << random_.randrange(8)
            case 2:
                piece = data[at : at + random_.randrange(1, 150)]
                data[at:at] = piece
            case _:
                del data[at : at + random_.randrange(1, 150)]
    path = pack(bytes(data), storages)

    def outcome(read: Callable[[], object]) -> object:
        try:
            return shown(read())
        except CheckpointError as error:
            return type(error), str(error)

    assert outcome(lambda: read_container(path).tree) == outcome(lambda: one_by_one(path))


def _entry(number: int, put: int) -> bytes:
    """A tensor as `torch.save` writes it, of which everything is put under one number."""
    name, key = f"w{number:04}".encode(), f"{number:04}".encode()
    aside = b"r" + put.to_bytes(4, "little")
    pieces = [
        b"X\x05\0\0\0" + name, b"h\x01((h\x02h\x03X\x04\0\0\0" + key, b"h\x04K\x01t", b"QK\x00K\x01\x85",
        b"K\x01\x85", b"\x89h\x05)R", b"t", b"R", b"",
    ]  # fmt: skip
    return aside.join(pieces)


@pytest.mark.parametrize("put", [1, 3, 300])
def test_what_a_run_puts_aside_is_what_is_got(
    put: int, pack: Callable[..., Path], one_by_one: Callable[[Path], object]
) -> None:
    """Entries that put aside over each other, or over what the next ones get; then one is got."""
    start = (
        (
            b"\x80\x02}(ctorch._utils\n_rebuild_tensor_v2\nq\x01X\x07\0\0\0storageq\x02ctorch\nFloatStorage\nq\x03"
            b"X\x03\0\0\0cpuq\x04ccollections\nOrderedDict\nq\x05t0"
        )
        .replace(b"}(", b"(")
        .replace(b"t0", b"t0}(")
    )
    body = b"".join(_entry(number, 400 if number < 200 else put) for number in range(400))
    end = b"X\x04\0\0\0lastj" + put.to_bytes(4, "little") + b"u."
    storages = {f"{number:04}": bytes([number % 256, 0, 0, 0]) for number in range(400)}
    path = pack(start + body + end, storages)

    def outcome(read: Callable[[], object]) -> object:
        try:
            return shown(read())
        except CheckpointError as error:
            return type(error), str(error)

    assert outcome(lambda: read_container(path).tree) == outcome(lambda: one_by_one(path))


def test_protocols_are_what_python_writes() -> None:
    """The tests above are of both ways to put things aside."""
    assert b"\x94" in pickle.dumps(["a", "b"], protocol=4)
    assert b"q\x00" in pickle.dumps(["a", "b"], protocol=2)
