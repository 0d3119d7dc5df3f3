"""ONNX models: compared with the onnx package, and models that lie."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from google.protobuf.internal import encoder
from onnx import TensorProto, helper, numpy_helper

import torchgraft as tg
from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import read_container
from torchgraft.formats.onnx.model import ONNX
from torchgraft.formats.onnx.start import is_onnx
from torchgraft.tensors import TensorRef

CODES = [*range(1, 8), *range(9, 21), 24]
SMALL = [TensorProto.UINT4, TensorProto.INT4, TensorProto.FLOAT4E2M1, TensorProto.UINT2, TensorProto.INT2]


def model(*initializers: TensorProto, nodes: Any = (), **more: Any) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, None])]
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Identity", ["x"], ["y"])],
        "main",
        values,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
        list(initializers),
    )
    return helper.make_model(graph, **more)


def saved(path: Path, proto: onnx.ModelProto) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def tree_of(path: Path) -> dict[str, Any]:
    container = read_container(path)
    assert container.format == "onnx"
    assert isinstance(container.tree, dict)
    return container.tree


def raw_bytes(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().flatten().view(torch.uint8).numpy())


def assert_as_onnx_reads_it(ref: TensorRef, proto: TensorProto, base: str = "") -> None:
    theirs = numpy_helper.to_array(proto, base)
    assert ref.name == proto.name
    assert ref.shape == theirs.shape == tuple(ref.read().shape)
    assert str(ref.read().dtype) == f"torch.{ref.dtype}"
    assert raw_bytes(ref.read()) == theirs.tobytes()
    if ref.shape:
        assert raw_bytes(ref[1:, ...]) == theirs[1:].tobytes()


def made(code: int, *, raw: bool, shape: tuple[int, ...] = (2, 3)) -> TensorProto:
    """Random bits of this type, but for bool, whose bytes are 0 or 1."""
    dtype = helper.tensor_dtype_to_np_dtype(code)
    bits = np.frombuffer(np.random.default_rng(code).bytes(16 * int(np.prod(shape))), np.uint8)
    values = bits[: dtype.itemsize * int(np.prod(shape))]
    array = (values & 1 if code == TensorProto.BOOL else values).view(dtype).reshape(shape)
    if raw:
        return helper.make_tensor("w", code, shape, array.tobytes(), raw=True)
    proto = TensorProto(name="w", data_type=code, dims=shape)
    width = dtype.itemsize
    if code in {TensorProto.FLOAT, TensorProto.COMPLEX64}:
        proto.float_data.extend(array.reshape(-1).view(np.float32).tolist())
    elif code in {TensorProto.DOUBLE, TensorProto.COMPLEX128}:
        proto.double_data.extend(array.reshape(-1).view(np.float64).tolist())
    elif code == TensorProto.INT64:
        proto.int64_data.extend(array.reshape(-1).tolist())
    elif code in {TensorProto.UINT32, TensorProto.UINT64}:
        proto.uint64_data.extend(array.reshape(-1).tolist())
    else:
        whole = code in {TensorProto.INT32, TensorProto.INT16, TensorProto.INT8}
        kind = "i" if whole else "u"
        proto.int32_data.extend(array.reshape(-1).view(f"{kind}{width}").tolist())
    return proto


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "list"])
@pytest.mark.parametrize("code", CODES, ids=TensorProto.DataType.Name)
def test_every_data_type(code: int, raw: bool, tmp_path: Path) -> None:
    proto = made(code, raw=raw)
    ref = tree_of(saved(tmp_path / "x", model(proto)))["w"]
    if not raw and code in {TensorProto.FLOAT, TensorProto.COMPLEX64}:  # NaNs lose bits in a Python float
        stored = np.array(proto.float_data, np.float32).tobytes()
        assert raw_bytes(ref.read()) == stored
    else:
        assert_as_onnx_reads_it(ref, proto)


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "list"])
@pytest.mark.parametrize("code", SMALL, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("shape", [(3, 5), (7,), (4, 2), ()], ids=str)
def test_elements_that_share_a_byte(shape: tuple[int, ...], code: int, raw: bool, tmp_path: Path) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(code)
    numbers = np.random.default_rng(0).integers(0, 4, shape)
    proto = numpy_helper.from_array(np.asarray(numbers.astype(np.float32)).astype(dtype), "w")
    if not raw:
        proto.int32_data.extend(proto.raw_data)
        proto.ClearField("raw_data")
    ref = tree_of(saved(tmp_path / "x", model(proto)))["w"]
    theirs = numpy_helper.to_array(proto).astype(np.float32)
    assert ref.shape == shape
    assert ref.read().float().numpy().tobytes() == theirs.tobytes()
    if shape:
        assert ref[1:].float().numpy().tobytes() == theirs[1:].tobytes()


def test_negative_values_of_4_bits(tmp_path: Path) -> None:
    array = np.arange(-8, 8).astype(ml_dtypes.int4)
    ref = tree_of(saved(tmp_path / "x", model(numpy_helper.from_array(array, "w"))))["w"]
    assert ref.dtype == "int8"
    assert ref.read().tolist() == list(range(-8, 8))


def test_texts_scalars_and_empty_tensors(tmp_path: Path) -> None:
    texts = helper.make_tensor("names", TensorProto.STRING, [2], [b"cat", "dög".encode()])
    scalar = numpy_helper.from_array(np.float32(1.5), "scalar")
    empty = helper.make_tensor("empty", TensorProto.FLOAT, [0, 3], [])
    path = saved(tmp_path / "x", model(texts, scalar, empty))
    tree = tree_of(path)
    assert tree["names"] == ["cat", "dög"]
    assert tree["scalar"].read().item() == 1.5
    assert tree["empty"].read().shape == (0, 3)
    assert tg.open(path).metadata["names"] == ["cat", "dög"]


def test_metadata_is_plain(tmp_path: Path) -> None:
    proto = model(
        numpy_helper.from_array(np.ones(2, np.float32), "w"),
        producer_name="us",
        producer_version="1",
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    helper.set_model_props(proto, {"classes": "a,b"})
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2]))
    opened = tg.open(saved(tmp_path / "x", proto))
    assert opened.metadata == {
        "ir_version": 8,
        "producer_name": "us",
        "producer_version": "1",
        "metadata_props.classes": "a,b",
        "opset_import": {"ai.onnx": 17, "com.microsoft": 1},
        "graph": "main",
        "inputs": {"x": "float32 [batch, 3, ?]"},
        "outputs": {"y": "float32 []"},
    }


def test_values_in_pieces_and_one_by_one(tmp_path: Path) -> None:
    """Protocol Buffers lets a list be written unpacked, or in several runs."""
    tensor = (
        b"\x08\x03"
        + b"\x10\x01"
        + b"\x42\x01w"
        + b"\x25\x00\x00\x80\x3f"
        + b"\x22\x08"
        + np.float32([2, 3]).tobytes()
    )
    numbers = (
        b"\x0a\x01\x03" + b"\x10\x06" + b"\x42\x01n" + b"\x28\x05" + b"\x2a\x0b\x07" + b"\xff" * 9 + b"\x01"
    )
    proto = model()
    for raw in (tensor, numbers):
        proto.graph.initializer.append(TensorProto.FromString(raw))
    whole = model().SerializeToString()
    graph = model().graph.SerializeToString() + b"".join(
        b"\x2a" + bytes([len(r)]) + r for r in (tensor, numbers)
    )
    rest = whole.index(model().graph.SerializeToString())
    data = whole[: rest - 2] + b"\x3a" + bytes([len(graph) & 127 | 128, len(graph) >> 7]) + graph
    data += whole[rest + len(model().graph.SerializeToString()) :]
    (tmp_path / "x").write_bytes(data)
    tree = tree_of(tmp_path / "x")
    assert tree["w"].read().tolist() == [1.0, 2.0, 3.0]
    assert tree["n"].read().tolist() == [5, 7, -1]
    for proto_tensor in onnx.load(tmp_path / "x").graph.initializer:
        assert_as_onnx_reads_it(tree[proto_tensor.name], proto_tensor)


def constant(name: str, array: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(array), ""))


def test_constants_that_are_weights_and_branches(tmp_path: Path) -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    branches = {
        branch: helper.make_graph(
            [constant("inner", weight + number), helper.make_node("Identity", ["inner"], [f"out{number}"])],
            branch,
            [],
            [helper.make_tensor_value_info(f"out{number}", TensorProto.FLOAT, [2, 3])],
            [numpy_helper.from_array(weight * (number + 2), f"init{number}")],
        )
        for number, branch in enumerate(["then_branch", "else_branch"])
    }
    nodes = [
        constant("w", weight),
        constant("shape", np.array([1, 2])),
        constant("one", np.float32(1)),
        helper.make_node("Constant", [], ["ints"], value_ints=[1, 2]),
        helper.make_node("If", ["x"], ["y"], name="choice", **branches),
    ]
    tree = tree_of(saved(tmp_path / "x", model(nodes=nodes)))
    assert list(tree) == ["w", "inner", "init1", "choice.then_branch/inner", "init0"]
    assert {name: ref.read().tolist() for name, ref in tree.items()} == {
        "w": weight.tolist(),
        "inner": (weight + 1).tolist(),
        "choice.then_branch/inner": weight.tolist(),
        "init0": (weight * 2).tolist(),
        "init1": (weight * 3).tolist(),
    }


@pytest.mark.parametrize("one_file", [True, False])
def test_external_data(one_file: bool, tmp_path: Path) -> None:
    arrays = {"a": np.arange(2000.0), "b": np.random.default_rng(0).random((30, 40), np.float32)}
    proto = model(*(numpy_helper.from_array(array, name) for name, array in arrays.items()))
    onnx.save(
        proto, tmp_path / "x.onnx", save_as_external_data=True, all_tensors_to_one_file=one_file,
        location="x.data" if one_file else None, size_threshold=0,
    )  # fmt: skip
    assert len(list(tmp_path.iterdir())) == (2 if one_file else 3)
    tree = tree_of(tmp_path / "x.onnx")
    for tensor in onnx.load(tmp_path / "x.onnx", load_external_data=False).graph.initializer:
        assert tensor.data_location == TensorProto.EXTERNAL
        assert_as_onnx_reads_it(tree[tensor.name], tensor, str(tmp_path))


def external(location: str, offset: str | None = None, length: str | None = None, **more: Any) -> TensorProto:
    proto = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL, **more)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            proto.external_data.add(key=key, value=value)
    return proto


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(bytes(100))
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "data").write_bytes(np.float32([1, 2, 3]).tobytes())
    (inside / "empty").touch()
    (inside / "out").symlink_to(tmp_path / "secret")
    (inside / "in").symlink_to("data")
    (inside / "up").symlink_to(tmp_path)
    return inside


def test_external_places(folder: Path) -> None:
    for given in (external("data", "4", "8"), external("in", "4"), external("./data", "4", "8")):
        assert tree_of(saved(folder / "x", model(given)))["w"].read().tolist() == [2, 3]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (external("../secret"), UnsafeCheckpointError, "leads out"),
        (external("a/../../secret"), UnsafeCheckpointError, "leads out"),
        (external("..\\secret"), UnsafeCheckpointError, "leads out"),
        (external("/etc/hostname"), UnsafeCheckpointError, "leads out"),
        (external("C:\\secret"), UnsafeCheckpointError, "leads out"),
        (external("out"), UnsafeCheckpointError, "out of the folder"),
        (external("up/secret"), UnsafeCheckpointError, "out of the folder"),
        (external(""), UnsafeCheckpointError, "leads out"),
        (external("absent"), CorruptCheckpointError, "'absent'"),
        (external("empty"), CorruptCheckpointError, "empty"),
        (external("data", "8"), CorruptCheckpointError, "has 12"),
        (external("data", "4", "9"), CorruptCheckpointError, "needs 8 bytes"),
        (external("data", "-4"), CorruptCheckpointError, "offset"),
        (external("data", "1e3"), CorruptCheckpointError, "offset"),
        (external("data", "9" * 5000), CorruptCheckpointError, "offset"),
        (external("data", "0", "x"), CorruptCheckpointError, "length"),
        (external("data", raw_data=bytes(8)), CorruptCheckpointError, "both"),
    ],
    ids=lambda value: None if not isinstance(value, TensorProto) else str(value.external_data[0].value)[:20],
)
def test_external_places_that_are_refused(given: TensorProto, error: Any, message: str, folder: Path) -> None:
    path = saved(folder / "x.onnx", model(given))
    with pytest.raises(error, match=message) as caught:
        read_container(path)
    assert str(caught.value.where).startswith(f"{path}: w")
    assert len(str(caught.value)) < 1500


def tensor(**more: Any) -> TensorProto:
    return TensorProto(**{"name": "w", "data_type": 1, "dims": [2]} | more)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (tensor(), "no values"),
        (tensor(raw_data=bytes(7)), "needs 8 bytes, and 7"),
        (tensor(raw_data=bytes(9)), "needs 8 bytes, and 9"),
        (tensor(float_data=[1]), "needs 8 bytes, and 4"),
        (tensor(float_data=[1, 2, 3]), "needs 8"),
        (tensor(float_data=[1, 2], raw_data=bytes(8)), "several places"),
        (tensor(int32_data=[1, 2]), "another data type"),
        (tensor(data_type=6, float_data=[1, 2]), "another data type"),
        (tensor(data_type=6, int32_data=[1]), "needs 2 bytes, and 1"),
        (tensor(data_type=6, dims=[2**40], int32_data=[1, 2]), "needs"),
        (tensor(dims=[-2], raw_data=bytes(8)), "negative"),
        (tensor(dims=[-1, -2], raw_data=bytes(8)), "negative"),
        (tensor(dims=[2**62, 2**62], raw_data=bytes(8)), "impossibly large"),
        (tensor(dims=[2**61, 2**61], raw_data=bytes(8)), "needs"),
        (tensor(dims=[2**61, 2**61, 0]), "impossible"),
        (tensor(dims=[1] * 65 + [2], raw_data=bytes(8)), "64 dimensions"),
        (tensor(data_type=0, raw_data=bytes(8)), "data type 0"),
        (tensor(data_type=99, raw_data=bytes(8)), "data type 99"),
        (tensor(segment=TensorProto.Segment(begin=0, end=1), raw_data=bytes(8)), "segments"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lies_are_refused_by_name(given: TensorProto, message: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "x", model(given))
    with pytest.raises(CheckpointError, match=message) as caught:
        read_container(path)
    assert str(caught.value.where).startswith(str(path))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (tensor(data_type=10, int32_data=[1, 70_000]), "fit in float16"),
        (tensor(data_type=2, int32_data=[1, -1]), "fit in uint8"),
        (tensor(data_type=3, int32_data=[1, 128]), "fit in int8"),
        (tensor(data_type=6, int32_data=[1, 2, 3]), "3 values are there instead of 2"),
    ],
    ids=["float16", "uint8", "int8", "count"],
)
def test_lists_that_lie_are_refused_when_they_are_read(
    given: TensorProto, message: str, tmp_path: Path
) -> None:
    ref = tree_of(saved(tmp_path / "x", model(given)))["w"]
    with pytest.raises(CorruptCheckpointError, match=message) as caught:
        ref.read()
    assert caught.value.where == f"{tmp_path / 'x'}: w"


def twice(proto: onnx.ModelProto) -> None:
    proto.graph.initializer.append(proto.graph.initializer[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (twice, "two tensors"),
        (lambda proto: proto.ClearField("graph"), "no graph"),
        (lambda proto: proto.ClearField("opset_import"), "operators"),
    ],
    ids=["a name twice", "no graph", "no operators"],
)
def test_models_that_lie(change: Callable[[onnx.ModelProto], None], message: str, tmp_path: Path) -> None:
    proto = model(tensor(raw_data=bytes(8)), producer_name="us")
    change(proto)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_container(saved(tmp_path / "x", proto))
    assert str(tmp_path / "x") in str(caught.value)


def field(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return bytes([number << 3 | 2]) + encoder._VarintBytes(len(content)) + content


def test_deep_graphs_are_refused(tmp_path: Path) -> None:
    graph = b""
    for _ in range(10_000):
        graph = field(1, field(4, b"If") + field(5, field(6, graph)))
    (tmp_path / "x").write_bytes(b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11"))
    with pytest.raises(UnsafeCheckpointError, match="nested") as caught:
        read_container(tmp_path / "x")
    assert str(tmp_path / "x") in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_two_graphs_are_refused(tmp_path: Path) -> None:
    data = model().SerializeToString()
    (tmp_path / "x").write_bytes(data + data)
    with pytest.raises(CorruptCheckpointError, match="two graphs"):
        read_container(tmp_path / "x")


def test_truncation_is_always_refused(tmp_path: Path) -> None:
    weights = [numpy_helper.from_array(np.ones((3, n), np.float32), f"w{n}") for n in range(4)]
    whole = model(*weights, producer_name="us").SerializeToString()
    path = tmp_path / "x"
    for keep in range(1, len(whole)):
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError, match=str(path)):
            read_container(path)


@pytest.mark.parametrize("first", [8, 14])
def test_fields_in_any_order(first: int, tmp_path: Path) -> None:
    """Protocol Buffers lets a message's fields come in any order."""
    proto = model(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    helper.set_model_props(proto, {"a": "b"})
    graph = onnx.ModelProto(graph=proto.graph).SerializeToString()
    proto.ClearField("graph")
    (tmp_path / "x").write_bytes(graph + proto.SerializeToString())
    assert tree_of(tmp_path / "x")["w"].read().tolist() == [1, 1]
    (tmp_path / "x").write_bytes(proto.SerializeToString() + graph)
    assert tree_of(tmp_path / "x")["w"].read().tolist() == [1, 1]


@pytest.mark.parametrize(
    "head",
    [
        b"", b"\x08", b"\x08\x07", b"\x08\x00\x12\x01a", b"\x08\xff\x7f\x12\x01a", b"hello", b"{}",
        bytes(100),
        b"\x80\x02}q\x00.", b"PK\x03\x04", b"\x08\x07\x12\x02\xff\xfe", b"\x08\x07\x12\x02\x00\x01",
        b"\x0a\x04abcd",
        b"\x08\x01\x12\xb6\xa8\x0b\x0a\x3c\x12\x0e\x0a\x05Const",  # TensorFlow's SavedModel
        b"\x08\x05\x12\x80\x01\x0a\x18\x0a\x05image\x12\x0b",  # Core ML
        b"::::::::::::::::", b"\x08\x07\x3a\x05hello", b":\x05hello", b"\x08\x07\x3a\x00",
    ],
    ids=lambda head: head[:8].hex() or "nothing",
)  # fmt: skip
def test_what_is_no_model(head: bytes) -> None:
    assert not is_onnx(head)


@pytest.mark.parametrize("size", [40, 200, 4096])
def test_the_start_of_a_model(size: int) -> None:
    proto = model(producer_name="pytorch", producer_version="2.1", doc_string="länger\n" * 20)
    assert is_onnx(proto.SerializeToString()[:size])


class Counted:
    """A file that isn't on this machine, and counts what is read."""

    path = None
    read = 0

    def __init__(self, content: bytes) -> None:
        self.name, self.size, self.data, self._content = "https://host/x.onnx", len(content), self, content

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, place: slice) -> bytes:
        found = self._content[place]
        self.read += len(found)
        return found

    def view(self, offset: int, length: int) -> memoryview:
        self.read += length
        return memoryview(bytearray(self._content[offset : offset + length]))


def test_opening_reads_no_values(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((1000, 1000), np.float32)
    file = Counted(model(numpy_helper.from_array(array, "w")).SerializeToString())
    tree = ONNX.read(file).tree  # type: ignore[arg-type]
    assert file.read < 50_000
    assert isinstance(tree, dict)
    assert torch.equal(tree["w"][5], torch.from_numpy(array[5]))


def test_values_beside_a_remote_model_are_told() -> None:
    with pytest.raises(CheckpointError, match="another file, 'data'") as caught:
        ONNX.read(Counted(model(external("data")).SerializeToString()))  # type: ignore[arg-type]
    assert "https://host/x.onnx: w" in str(caught.value)


def test_many_initialisers(tmp_path: Path) -> None:
    ones = np.ones(1, np.float32)
    proto = model(*(numpy_helper.from_array(ones, f"w{n}") for n in range(5000)))
    assert len(tree_of(saved(tmp_path / "x", proto))) == 5000


def test_opening_needs_neither_pytorch_nor_onnx(tmp_path: Path) -> None:
    path = saved(tmp_path / "x", model(numpy_helper.from_array(np.ones(2), "w")))
    code = (
        "import sys; from torchgraft.formats import read_container; read_container("
        f"{str(path)!r}); assert not {{'torch', 'onnx', 'google.protobuf', 'numpy'}} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("silero_vad.onnx", 30),
        ("silero_vad_16k_op15.onnx", 15),
        ("silero_vad_16k_sequence.onnx", 14),
        ("silero_vad_half.onnx", 15),
        ("silero_vad_op18_ifless.onnx", 45),
        ("silero_vad_openvino_16k.onnx", 15),
    ],
)
def test_published_models(file: str, count: int) -> None:
    module = pytest.importorskip("silero_vad.data")
    path = Path(module.__path__[0]) / file
    theirs: dict[str, TensorProto] = {}

    def gather(graph: onnx.GraphProto) -> None:
        theirs.update({tensor.name: tensor for tensor in graph.initializer})
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    gather(attribute.g)
                elif node.op_type == "Constant" and attribute.HasField("t"):
                    attribute.t.name = node.output[0]
                    theirs[node.output[0]] = attribute.t

    gather(onnx.load(path).graph)
    tree = tree_of(path)
    assert len(tree) == count
    for name, ref in tree.items():
        assert_as_onnx_reads_it(ref, theirs[name])
    left_out = [numpy_helper.to_array(tensor) for name, tensor in theirs.items() if name not in tree]
    assert all(not array.shape or array.dtype.kind in "ib" for array in left_out)
