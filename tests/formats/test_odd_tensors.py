"""Tensors that are more than numbers in a row: quantised, sparse, of other devices, orders and classes."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.formats import Placeholder, read_container
from torchgraft.tensors import TensorRef

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta"),
    pytest.mark.filterwarnings("ignore:TypedStorage is deprecated"),
    pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions.*deprecated"),
]

VALUES = torch.tensor([[1.5, -2.0, 0.25], [0.0, 3.0, -0.5], [4.0, 1.0, 2.0], [0.0, 0.0, 1.0]])


def saved(tree: object, path: Path, *, zipped: bool = True) -> Any:
    torch.save(tree, path, _use_new_zipfile_serialization=zipped)
    return read_container(path).tree


def scales(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor([0.5, 0.25, 0.125], dtype=dtype)


def quantised() -> dict[str, torch.Tensor]:
    return {
        "qint8": torch.quantize_per_tensor(VALUES, 0.25, 3, torch.qint8),
        "quint8": torch.quantize_per_tensor(VALUES, 0.1, 128, torch.quint8),
        "qint32": torch.quantize_per_tensor(VALUES, 1e-6, 0, torch.qint32),
        "transposed": torch.quantize_per_tensor(VALUES, 0.25, 3, torch.qint8).t(),
        "part": torch.quantize_per_tensor(VALUES, 0.25, 3, torch.qint8)[1:3, ::2],
        "scalar": torch.quantize_per_tensor(torch.tensor(1.5), 0.5, 0, torch.qint8),
        "empty": torch.quantize_per_tensor(torch.empty(0, 3), 0.5, 0, torch.qint8),
        "channels": torch.quantize_per_channel(VALUES, scales(), torch.tensor([0, 1, -1]), 1, torch.qint8),
        "first axis": torch.quantize_per_channel(
            VALUES.t().contiguous(), scales(), torch.tensor([0, 1, 2]), 0, torch.quint8
        ),
    }


def assert_same_quantised(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert (ours.dtype, ours.shape, ours.qscheme()) == (theirs.dtype, theirs.shape, theirs.qscheme())
    assert torch.equal(ours.int_repr(), theirs.int_repr())
    assert torch.equal(ours.dequantize(), theirs.dequantize())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_quantised_tensors(zipped: bool, tmp_path: Path) -> None:
    tree = saved(quantised(), tmp_path / "x", zipped=zipped)
    theirs = torch.load(tmp_path / "x", weights_only=True)
    for name, tensor in theirs.items():
        ref = tree[name]
        assert isinstance(ref, TensorRef), name
        assert (f"torch.{ref.dtype}", ref.shape) == (str(tensor.dtype), tuple(tensor.shape))
        assert_same_quantised(ref.read(), tensor)


@pytest.mark.parametrize(
    "index", [0, slice(1, 3), (slice(None), 1), (..., slice(0, 2)), (2, 1), None, (None, 1, None)], ids=str
)
@pytest.mark.parametrize("name", ["qint8", "channels", "first axis"])
def test_parts_of_quantised_tensors(name: str, index: Any, tmp_path: Path) -> None:
    ref = saved({"a": quantised()[name]}, tmp_path / "x")["a"]
    whole = quantised()[name]
    wanted = whole.dequantize()[index]
    part = ref[index]
    assert part.is_quantized
    assert torch.equal(part.int_repr(), whole.int_repr()[index])
    assert torch.equal(part.dequantize(), wanted)


class Sliced:
    """Pickles as a view of a tensor of 4 bits an element, which PyTorch itself reads wrong."""

    def __init__(self, offset: int, stride: tuple[int, ...], shape: tuple[int, ...] = (2, 3)) -> None:
        self.view = offset, stride
        self.shape = shape

    def __reduce__(self) -> tuple[object, object]:
        whole = torch.quantize_per_tensor(VALUES, 0.25, 3, torch.quint4x2)
        offset, stride = self.view
        quantiser = (torch.per_tensor_affine, 0.25, 3)
        return torch._utils._rebuild_qtensor, (
            whole.storage(),
            offset,
            self.shape,
            stride,
            quantiser,
            False,
            {},
        )


def uncopied() -> dict[str, torch.Tensor]:
    """Quantised tensors that PyTorch can't clone: packed, or with fractions as zero points."""
    torch.manual_seed(0)
    wide, zeros = torch.randn(3, 7), torch.tensor([0.5, 7.25, 2.0])
    per_channel, per_tensor = torch.quantize_per_channel, torch.quantize_per_tensor
    some = scales(torch.float32)
    return {
        "8 bits": per_channel(VALUES, some, zeros, 1, torch.quint8),
        "8 bits, first axis": per_channel(wide, some, zeros, 0, torch.quint8),
        "8 bits, middle axis": per_channel(torch.randn(2, 3, 5), some, zeros, 1, torch.quint8),
        "4 bits": per_channel(wide, some, zeros, 0, torch.quint4x2),
        "4 bits, last axis": per_channel(VALUES, some, zeros, 1, torch.quint4x2),
        "4 bits, one scale": per_tensor(wide, 0.3, 5, torch.quint4x2),
        "2 bits": per_channel(wide, some, zeros, 0, torch.quint2x4),
        "2 bits, one scale": per_tensor(wide, 0.7, 1, torch.quint2x4),
        "4 bits, empty": per_tensor(torch.empty(0, 3), 0.5, 0, torch.quint4x2),
        "4 bits, 0-d": per_tensor(torch.tensor(1.5), 0.5, 0, torch.quint4x2),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_quantised_tensors_that_pytorch_cannot_copy_are_float32(zipped: bool, tmp_path: Path) -> None:
    tree = saved({**uncopied(), "other": torch.ones(2)}, tmp_path / "x", zipped=zipped)
    for name, tensor in torch.load(tmp_path / "x", weights_only=True).items():
        if name == "other":
            continue
        wanted, ref = tensor.dequantize(), tree[name]
        assert (ref.dtype, ref.shape) == ("float32", tuple(tensor.shape)), name
        assert torch.equal(ref.read(), wanted), name
        indices = [
            slice(1, None),
            (..., slice(None, None, 2)),
            (slice(None), 1),
            None,
            (-1, ..., slice(1, 3)),
        ]
        for index in indices if tensor.numel() > 1 else [None]:
            assert torch.equal(ref[index], wanted[index]), (name, index)
    assert tree["other"].read().tolist() == [1, 1]


def test_a_part_of_a_packed_tensor_is_a_placeholder_that_says_why(tmp_path: Path) -> None:
    for part in (Sliced(2, (3, 1)), Sliced(0, (1, 3))):
        tree = saved({"part": part, "other": torch.ones(2)}, tmp_path / "x")
        assert isinstance(tree["part"], Placeholder)
        assert "a part of a tensor of quint4x2" in tree["part"].why
        assert tree["other"].read().tolist() == [1, 1]
    whole = saved({"part": Sliced(0, (3, 1))}, tmp_path / "x")["part"]
    assert torch.equal(
        whole.read(), torch.quantize_per_tensor(VALUES, 0.25, 3, torch.quint4x2).dequantize()[:2]
    )


@pytest.mark.parametrize("shape", [(40,), (4, 20), (-1,), (1 << 40, 1 << 40), (0, 1 << 62)], ids=str)
def test_a_packed_tensor_lies_in_its_storage(shape: tuple[int, ...], tmp_path: Path) -> None:
    strides = {1: (1,), 2: (max(shape[-1], 1), 1)}
    with pytest.raises(
        CorruptCheckpointError, match=r"x: x/data/0: a tensor of 4 bits an element does not fit"
    ):
        saved(Sliced(0, strides[len(shape)], shape), tmp_path / "x")


def test_scales_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    class Forged:
        def __init__(self, *quantiser: object) -> None:
            self.quantiser = quantiser

        def __reduce__(self) -> tuple[object, object]:
            storage = torch.storage.TypedStorage(
                wrap_storage=torch.zeros(6, dtype=torch.int8).untyped_storage(),
                dtype=torch.qint8,
                _internal=True,
            )
            return torch._utils._rebuild_qtensor, (storage, 0, (2, 3), (3, 1), self.quantiser, False, {})

    channel, zeros = torch.per_channel_affine, torch.zeros(3, dtype=torch.int64)
    for quantiser in [
        (channel, scales(), zeros, 0),
        (channel, scales(), zeros, 2),
        (channel, scales(), zeros, -1),
        (channel, scales(), zeros[:2], 1),
        (channel, scales(), zeros.int(), 1),
        (torch.per_tensor_affine, float("nan"), 0),
        (torch.per_tensor_affine, 1.0, 1 << 70),
        (torch.per_tensor_affine, 1.0, 128),
        (torch.per_tensor_affine, 1e39, 0),
    ]:
        with pytest.raises(CorruptCheckpointError, match=r"x: x/data/"):
            saved(Forged(*quantiser), tmp_path / "x")
    for large, far in [(1e39, 0), (1.0, 128), (1.0, -129), (float("nan"), 0)]:  # known only when it is read
        ours = saved(Forged(channel, scales() * large, zeros + far, 1), tmp_path / "x")
        for index in (..., slice(1)):
            with pytest.raises(CorruptCheckpointError, match=r"x: x/data/.*: scales or zero points"):
                ours.read(index)
    assert saved(Forged(torch.per_tensor_affine, 1.0, 0), tmp_path / "x").shape == (2, 3)
    unknown = saved(Forged(torch.per_tensor_symmetric, 1.0, 0), tmp_path / "x")
    assert isinstance(unknown, Placeholder)


def sparse_tensors() -> dict[str, torch.Tensor]:
    warnings.simplefilter("ignore")
    block = torch.block_diag(torch.ones(2, 2), torch.full((2, 4), 3.0))
    return {
        "coo": VALUES.to_sparse(),
        "unsorted": torch.sparse_coo_tensor([[2, 0, 2], [0, 1, 0]], [1.0, 2.0, 3.0], (3, 2)),
        "hybrid": torch.sparse_coo_tensor([[0, 2]], torch.ones(2, 4), (3, 4)),
        "half": VALUES.half().to_sparse(),
        "none": torch.sparse_coo_tensor(size=(3, 4)),
        "csr": VALUES.to_sparse_csr(),
        "csc": VALUES.to_sparse_csc(),
        "bsr": block.to_sparse_bsr((2, 2)),
        "bsc": block.to_sparse_bsc((2, 3)),
        "batch": torch.stack([VALUES, VALUES]).to_sparse_csr(),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_sparse_tensors(zipped: bool, tmp_path: Path) -> None:
    tree = saved(sparse_tensors(), tmp_path / "x", zipped=zipped)
    theirs = torch.load(tmp_path / "x", weights_only=False)
    for name, tensor in theirs.items():
        ref = tree[name]
        assert (ref.shape, f"torch.{ref.layout}") == (tuple(tensor.shape), str(tensor.layout)), name
        read = ref.read()
        assert (read.layout, read.dtype, read.shape) == (tensor.layout, tensor.dtype, tensor.shape)
        if name != "half":
            assert torch.equal(read.to_dense(), tensor.to_dense()), name
        if tensor.layout == torch.sparse_coo:
            assert read.is_coalesced() == tensor.is_coalesced()
            assert torch.equal(read._indices(), tensor._indices())
            assert torch.equal(read._values(), tensor._values())
        assert torch.equal(ref[1:], tensor.to_dense()[1:]), name


class Sparse:
    """Pickles as a sparse tensor of any parts."""

    def __init__(self, layout: torch.layout, *parts: object) -> None:
        self.args = (layout, parts)

    def __reduce__(self) -> tuple[object, object]:
        return torch._utils._rebuild_sparse_tensor, self.args


ONE, PAIR = torch.ones(1), torch.tensor([[0], [0]])
LONG = torch.tensor([0, 1])


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(Sparse(torch.sparse_coo, PAIR, ONE, torch.Size([2, 2, 2])), id="fewer dimensions"),
        pytest.param(Sparse(torch.sparse_coo, PAIR, ONE, torch.Size([2])), id="more dimensions"),
        pytest.param(Sparse(torch.sparse_coo, PAIR.int(), ONE, torch.Size([2, 2])), id="short indices"),
        pytest.param(Sparse(torch.sparse_coo, PAIR, torch.ones(2), torch.Size([2, 2])), id="more values"),
        pytest.param(Sparse(torch.sparse_coo, PAIR, ONE, (2, -2)), id="a negative size"),
        pytest.param(Sparse(torch.sparse_coo, PAIR, ONE, (1 << 40, 1 << 40)), id="a huge shape"),
        pytest.param(Sparse(torch.sparse_csr, LONG, LONG[:1], ONE, torch.Size([2, 2])), id="fewer rows"),
        pytest.param(Sparse(torch.sparse_csr, LONG, LONG, ONE, torch.Size([1, 2])), id="more columns"),
        pytest.param(
            Sparse(torch.sparse_csr, LONG, LONG[:1].int(), ONE, torch.Size([1, 2])), id="two dtypes"
        ),
        pytest.param(Sparse(torch.sparse_csr, LONG[0], LONG[:1], ONE, torch.Size([1, 2])), id="a number"),
        pytest.param(
            Sparse(torch.sparse_bsr, LONG, LONG[:1], torch.ones(1, 2, 2), torch.Size([2, 3])),
            id="half a block",
        ),
    ],
)
def test_sparse_parts_must_fit(forged: Sparse, tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpointError, match=r"x: x/data\.pkl: the parts and the shape of a sparse"):
        saved(forged, tmp_path / "x")


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(Sparse(torch.sparse_coo, PAIR + 2, ONE, torch.Size([2, 2]), False), id="beyond"),
        pytest.param(Sparse(torch.sparse_coo, PAIR - 1, ONE, torch.Size([2, 2]), False), id="negative"),
        pytest.param(
            Sparse(torch.sparse_coo, torch.tensor([[1, 0]]), torch.ones(2), torch.Size([2]), True),
            id="unsorted",
        ),
        pytest.param(
            Sparse(torch.sparse_csr, LONG, LONG[1:] + 5, ONE, torch.Size([1, 2])), id="column beyond"
        ),
        pytest.param(
            Sparse(torch.sparse_csr, LONG + 1, LONG[:1], ONE, torch.Size([1, 2])), id="a row before"
        ),
    ],
)
def test_indices_are_checked_when_they_are_read(forged: Sparse, tmp_path: Path) -> None:
    ref = saved(forged, tmp_path / "x")
    for read in (ref.read, lambda: ref[0]):
        with pytest.raises(CorruptCheckpointError, match=r"x: x/data\.pkl: a sparse tensor makes no sense"):
            read()


def test_a_sparse_tensor_is_not_made_dense_when_that_is_huge(tmp_path: Path) -> None:
    huge = torch.sparse_coo_tensor([[5], [7]], [2.0], (1 << 20, 1 << 20))
    ref = saved({"a": huge}, tmp_path / "x")["a"]
    assert ref.read()._values().tolist() == [2.0]
    with pytest.raises(CheckpointError, match=r"x: x/data\.pkl: .*can't be read") as caught:
        ref[5]
    assert "ref.read()" in str(caught.value.hint)


def test_meta_tensors_have_no_values(tmp_path: Path) -> None:
    ref = saved({"a": torch.empty(2, 3, device="meta")}, tmp_path / "x")["a"]
    assert (ref.shape, ref.dtype) == ((2, 3), "float32")
    for read in (ref.read, ref.view, lambda: ref[0]):
        with pytest.raises(CheckpointError, match=r"x: x/data\.pkl: .*no values"):
            read()


def test_a_tensor_of_another_device_is_of_the_dtype_it_says(tmp_path: Path) -> None:
    class FromXla:
        def __init__(self, data: object) -> None:
            self.data = data

        def __reduce__(self) -> tuple[object, object]:
            name = "_rebuild_device_tensor_from_" + (
                "numpy" if isinstance(self.data, np.ndarray) else "cpu_tensor"
            )
            return getattr(torch._utils, name), (self.data, torch.bfloat16, "cpu", False)

    things = {"numpy": FromXla(np.array([1.5, 2.5], np.float32)), "cpu": FromXla(torch.tensor([1.5, 3.0]))}
    tree = saved(things, tmp_path / "x")
    theirs = torch.load(tmp_path / "x", weights_only=False)
    for name, tensor in theirs.items():
        assert tree[name].dtype == "bfloat16"
        assert torch.equal(tree[name].read(), tensor)
        assert torch.equal(tree[name][1:], tensor[1:])


class Marked(torch.Tensor):
    """A subclass with an attribute."""


def test_subclasses_and_parameters(tmp_path: Path) -> None:
    marked = torch.ones(2).as_subclass(Marked)
    marked.mark = "x"  # type: ignore[attr-defined]
    parameter = nn.Parameter(torch.arange(3.0))
    parameter.tag = 1  # type: ignore[attr-defined]
    tree = saved({"m": marked, "p": parameter, "b": nn.Buffer(torch.ones(1))}, tmp_path / "x")
    assert {name: ref.read().tolist() for name, ref in tree.items()} == {
        "m": [1, 1],
        "p": [0, 1, 2],
        "b": [1],
    }


def located(tree: object, location: bytes) -> bytes:
    """A zip file of CPU tensors that says its tensors were elsewhere."""
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    made = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("data.pkl"):
                place = b"X" + len(location).to_bytes(4, "little") + location
                data = data.replace(b"X\x03\x00\x00\x00cpu", place)
                assert place in data
            new.writestr(name, data)
    return made.getvalue()


@pytest.mark.parametrize("location", [b"cuda:7", b"mps:0", b"meta", b"xpu:1", b"no such device"])
def test_the_device_does_not_matter(location: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(located({"a": torch.arange(4.0)}, location))
    tree: Any = read_container(tmp_path / "x").tree
    assert tree["a"].read().tolist() == [0, 1, 2, 3]


def big_endian() -> dict[str, torch.Tensor]:
    return {
        "float32": torch.randn(3, 4),
        "float16": torch.randn(5).half(),
        "bfloat16": torch.randn(5).bfloat16(),
        "int64": torch.arange(-3, 3),
        "int8": torch.arange(3, dtype=torch.int8),
        "bool": torch.tensor([True, False]),
        "complex64": torch.randn(3, dtype=torch.complex64),
        "complex128": torch.randn(3, dtype=torch.complex128).conj(),
        "uint16": torch.tensor([1, 2, 40_000], dtype=torch.uint16),
        "transposed": torch.randn(3, 4).t(),
        "part": torch.arange(20.0)[3:15:2],
        "empty": torch.empty(0, 2),
        "quantised": quantised()["qint32"],
    }


def test_a_file_of_a_big_endian_machine(
    tmp_path: Path, assert_same: Callable[[object, object], None]
) -> None:
    """Made by turning the bytes round; `torch.load` agrees but for uint16, whose bytes it forgets to turn."""
    tensors = big_endian()
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    widths = {}
    for number, tensor in enumerate(tensors.values()):
        widths[str(number)] = tensor.element_size() // (2 if tensor.is_complex() else 1)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(tmp_path / "x", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("/byteorder"):
                data = b"big"
            elif "/data/" in name:
                width = widths[name.rpartition("/")[2]]
                data = np.frombuffer(data, np.uint8).reshape(-1, width)[:, ::-1].tobytes()
            new.writestr(name, data)
    tree: Any = read_container(tmp_path / "x").tree
    assert_same_quantised(tree.pop("quantised").read(), tensors.pop("quantised"))
    assert_same(tree, tensors)
    theirs = torch.load(tmp_path / "x")
    for name, tensor in tensors.items():
        assert torch.equal(theirs[name], tensor) == (name != "uint16")
        assert tree[name].read().stride() == tensor.stride() or name == "part"
        if tensor.shape[0]:
            assert torch.equal(tree[name][1:], tensor[1:])


def test_one_storage_with_two_dtypes_is_refused(tmp_path: Path) -> None:
    class Wrong:
        def __init__(self, dtype: torch.dtype, numel: int) -> None:
            self.dtype, self.numel = dtype, numel

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> object:
            if not isinstance(obj, Wrong):
                return None
            storage = getattr(torch, {torch.float32: "FloatStorage", torch.int32: "IntStorage"}[obj.dtype])
            return ("storage", storage, "0", "cpu", obj.numel)

    def write(*storages: Wrong) -> Path:
        buffer = io.BytesIO()
        Pickler(buffer, 2).dump(list(storages))
        with zipfile.ZipFile(tmp_path / "x", "w") as archive:
            archive.writestr("x/data.pkl", buffer.getvalue())
            archive.writestr("x/data/0", bytes(16))
        return tmp_path / "x"

    same = Wrong(torch.float32, 4)
    read_container(write(same, Wrong(torch.float32, 4)))
    for other in (Wrong(torch.int32, 4), Wrong(torch.float32, 3)):
        with pytest.raises(CorruptCheckpointError, match=r"x: x/data\.pkl.*'0' is described in two ways"):
            read_container(write(same, other))
    for numel in (3, 5):
        with pytest.raises(CorruptCheckpointError, match=r"'0' needs \d+ bytes and has 16"):
            read_container(write(Wrong(torch.float32, numel)))


def test_a_missing_storage_is_told_and_not_made_up(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3), "b": torch.ones(4)}, tmp_path / "old")
    with zipfile.ZipFile(tmp_path / "old") as old, zipfile.ZipFile(tmp_path / "x", "w") as new:
        for name in old.namelist():
            if not name.endswith("data/1"):
                new.writestr(name, old.read(name))
    with pytest.raises(
        CorruptCheckpointError, match=r"x: old/data\.pkl: .*storage '1' is not in the archive"
    ):
        read_container(tmp_path / "x")
