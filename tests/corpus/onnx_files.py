"""ONNX models, whose weights may be in files beside them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.internal import encoder
from onnx import TensorProto, helper, numpy_helper

from corpus.items import Bad, Item, Odd, Site, Values, file

CODES = [*range(1, 8), *range(9, 21)]


def model(*initializers: TensorProto, nodes: Any = (), **more: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Identity", ["x"], ["y"])],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
        list(initializers),
    )
    return helper.make_model(graph, **more)


def content(*initializers: TensorProto) -> bytes:
    return bytes(model(*initializers).SerializeToString())


def tensor(**more: Any) -> TensorProto:
    return TensorProto(**{"name": "w", "data_type": 1, "dims": [2]} | more)


def external(location: str, offset: str | None = None, length: str | None = None, **more: Any) -> TensorProto:
    proto = tensor(data_location=TensorProto.EXTERNAL, **more)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            proto.external_data.add(key=key, value=value)
    return proto


def beside(name: str, given: TensorProto, *told: str) -> Bad:
    """A model with data beside it: an honest file, an empty one, a pipe, and links."""

    def write(site: Site) -> Path:
        (site.folder / "data").write_bytes(np.float32([1, 2, 3]).tobytes())
        (site.folder / "empty").touch()
        (site.folder / "out").symlink_to("../secret")
        (site.folder / "up").symlink_to("..")
        (site.folder / "loop").symlink_to("loop")
        (site.folder / "null").symlink_to("/dev/zero")
        os.mkfifo(site.folder / "pipe")
        return site.write(content(given), "x.onnx")

    return Bad(f"onnx: {name}", write, ("x.onnx: w", *told))


def field(number: int, value: bytes) -> bytes:
    """A field of bytes."""
    return bytes([number << 3 | 2]) + encoder._VarintBytes(len(value)) + value


def deep() -> bytes:
    graph = b""
    for _ in range(10_000):
        graph = field(1, field(4, b"If") + field(5, field(6, graph)))
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11")


def without(name: str) -> bytes:
    proto = model(tensor(raw_data=bytes(8)), producer_name="us")
    proto.ClearField(name)
    return bytes(proto.SerializeToString())


WHOLE = content(*(numpy_helper.from_array(np.ones((30, n), np.float32), f"w{n}") for n in range(1, 5)))
GOOD = tensor(raw_data=bytes(8))
LIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "no values": (content(tensor()), ("x: w", "no values")),
    "too few bytes": (content(tensor(raw_data=bytes(7))), ("x: w", "needs 8 bytes, and 7")),
    "too many bytes": (content(tensor(raw_data=bytes(9))), ("x: w", "needs 8 bytes, and 9")),
    "too few floats": (content(tensor(float_data=[1])), ("x: w", "needs 8 bytes, and 4")),
    "values in two places": (content(tensor(float_data=[1, 2], raw_data=bytes(8))),
        ("x: w", "several places")),
    "values of another type": (content(tensor(int32_data=[1, 2])), ("x: w", "another data type")),
    "a huge shape over few numbers": (content(tensor(data_type=6, dims=[2**40], int32_data=[1, 2])),
        ("x: w", "needs")),
    "a negative shape": (content(tensor(dims=[-1, -2], raw_data=bytes(8))), ("x: w", "negative")),
    "an overflowing shape": (content(tensor(dims=[2**62, 2**62], raw_data=bytes(8))),
        ("x: w", "impossibly large")),
    "huge and empty": (content(tensor(dims=[2**61, 2**61, 0])), ("x: w", "impossible")),
    "66 dimensions": (content(tensor(dims=[1] * 65 + [2], raw_data=bytes(8))), ("x: w", "64 dimensions")),
    "no data type": (content(tensor(data_type=0, raw_data=bytes(8))), ("x: w", "data type 0")),
    "data type 99": (content(tensor(data_type=99, raw_data=bytes(8))), ("x: w", "data type 99")),
    "segments": (content(tensor(segment=TensorProto.Segment(begin=0, end=1), raw_data=bytes(8))),
        ("x: w", "segments")),
    "numbers that don't fit": (content(tensor(data_type=3, int32_data=[1, 128])), ("x: w", "fit in int8")),
    "halves that don't fit": (content(tensor(data_type=10, int32_data=[1, 70_000])),
        ("x: w", "fit in float16")),
    "a number too many": (content(tensor(data_type=6, int32_data=[1, 2, 3])),
        ("x: w", "3 values are there instead of 2")),
    "a name twice": (content(GOOD, GOOD), ("x: w", "two tensors")),
    "no graph": (without("graph"), ("no graph",)),
    "no operators": (without("opset_import"), ("operators",)),
    "two graphs": (content(GOOD) * 2, ("two graphs",)),
    "deep graphs": (deep(), ("nested",)),
    "cut in the graph": (WHOLE[:200], ("x",)),
    "cut at the end": (WHOLE[:-3], ("x",)),
    "a field longer than the file": (content(GOOD)[:-3] + b"\x12\xff\xff\xff\xff\x07", ("x",)),
    "a number without an end": (content(GOOD) + b"\x08" + b"\xff" * 11, ("x",)),
}  # fmt: skip


def values_of(path: Path) -> Values:
    """As the onnx package reads them; of floats in lists the bits are kept."""
    found = {}
    for proto in onnx.load(path).graph.initializer:
        found[proto.name] = numpy_helper.to_array(proto, str(path.parent))
    return found


def written(name: str, *initializers: Callable[[], TensorProto]) -> Odd:
    def write(site: Site) -> tuple[Path, Values]:
        path = site.write(content(*(make() for make in initializers)))
        return path, values_of(path)

    return Odd(f"onnx: {name}", write)


def bits(code: int) -> TensorProto:
    """Random bits of this type, but for bool, whose bytes are 0 or 1."""
    dtype = helper.tensor_dtype_to_np_dtype(code)
    raw = np.frombuffer(np.random.default_rng(code).bytes(6 * dtype.itemsize), np.uint8)
    array = (raw & 1 if code == TensorProto.BOOL else raw).view(dtype).reshape(2, 3)
    return helper.make_tensor(TensorProto.DataType.Name(code), code, (2, 3), array.tobytes(), raw=True)


def lists() -> list[TensorProto]:
    return [
        tensor(name="float", float_data=[1.5, -2]),
            tensor(name="double", data_type=11, double_data=[1.5, -2]),
        tensor(name="long", data_type=7, int64_data=[-1, 1 << 40]),
            tensor(name="byte", data_type=2, int32_data=[1, 255]),
        tensor(name="half", data_type=10, int32_data=[15360, 49152]),
            tensor(name="u64", data_type=13, uint64_data=[1, 1 << 63]),
        tensor(name="complex", data_type=14, float_data=[1, 2, 3, 4]),
            tensor(name="bool", data_type=9, int32_data=[1, 0]),
    ]  # fmt: skip


def data_beside(one_file: bool) -> Callable[[Site], tuple[Path, Values]]:
    def write(site: Site) -> tuple[Path, Values]:
        arrays = {"a": np.arange(2000.0), "b": np.random.default_rng(0).random((30, 40), np.float32)}
        proto = model(*(numpy_helper.from_array(array, name) for name, array in arrays.items()))
        path = site.folder / "x.onnx"
        onnx.save(
            proto, path, save_as_external_data=True, all_tensors_to_one_file=one_file,
            location="x.data" if one_file else None, size_threshold=0,
        )  # fmt: skip
        return path, arrays

    return write


def branches(site: Site) -> tuple[Path, Values]:
    """Weights in the two branches of an If, and in Constant nodes."""
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    inner = {
        branch: helper.make_graph(
            [helper.make_node("Identity", [f"init{n}"], [f"out{n}"])], branch, [],
            [helper.make_tensor_value_info(f"out{n}", TensorProto.FLOAT, [2, 3])],
            [numpy_helper.from_array(weight * n, f"init{n}")],
        )
        for n, branch in enumerate(["then_branch", "else_branch"], 2)
    }  # fmt: skip
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weight, "")),
        helper.make_node("If", ["x"], ["y"], name="choice", **inner),
    ]
    path = site.write(bytes(model(nodes=nodes).SerializeToString()))
    return path, {"w": weight, "init2": weight * 2, "init3": weight * 3}


def graph_last(site: Site) -> tuple[Path, Values]:
    """Protocol Buffers lets fields come in any order."""
    proto = model(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    graph = onnx.ModelProto(graph=proto.graph).SerializeToString()
    proto.ClearField("graph")
    return site.write(proto.SerializeToString() + graph), {"w": np.ones(2, np.float32)}


def one_by_one() -> bytes:
    """One by one, each with a tag of its own, as Protocol Buffers 2 wrote lists."""
    packed = tensor(dims=[100_000]).SerializeToString()
    values = np.arange(100_000, dtype=np.float32)
    return packed + np.rec.fromarrays([np.full(100_000, 0x25, "u1"), values]).tobytes()


def unpacked(site: Site) -> tuple[Path, Values]:
    initializer = field(5, one_by_one())
    rest = model()
    graph = field(7, bytes(rest.graph.SerializeToString()) + initializer)
    rest.ClearField("graph")
    path = site.write(bytes(rest.SerializeToString()) + graph)
    return path, values_of(path)


ITEMS: list[Item] = [
    written("all data types", *(lambda code=code: bits(code) for code in CODES)),
    written("values in lists", *(lambda proto=proto: proto for proto in lists())),
    written("numbers and empty ones", lambda: numpy_helper.from_array(np.float32(1.5), "scalar"),
            lambda: helper.make_tensor("empty", TensorProto.FLOAT, [0, 3], [])),
    Odd("onnx: data beside, in one file", data_beside(True)),
    Odd("onnx: data beside, a file each", data_beside(False)),
    Odd("onnx: branches and constants", branches),
    Odd("onnx: the graph last", graph_last),
    Odd("onnx: 100,000 floats one by one", unpacked),
    *(Bad(f"onnx: {name}", file(made), told) for name, (made, told) in LIES.items()),
    beside("data outside", external("../secret"), "leads out"),
    beside("data outside by a way round", external("a/../../secret"), "leads out"),
    beside("data outside as Windows spells it", external("..\\secret"), "leads out"),
    beside("data at an absolute path", external("/etc/hostname"), "leads out"),
    beside("data on a drive", external("C:\\secret"), "leads out"),
    beside("data by a link out", external("out"), "out of the folder"),
    beside("data by a link up", external("up/secret"), "out of the folder"),
    beside("data in a device", external("null"), "out of the folder"),
    beside("data by a link to itself", external("loop"), "loop"),
    beside("data in a pipe", external("pipe"), "a pipe"),
    beside("data in the folder itself", external("."), "folder"),
    beside("data nowhere", external(""), "leads out"),
    beside("data that is absent", external("absent"), "'absent'"),
    beside("data that is empty", external("empty"), "empty"),
    beside("data beyond the end", external("data", "8"), "has 12"),
    beside("data of another length", external("data", "4", "9"), "needs 8 bytes"),
    beside("data before the start", external("data", "-4"), "offset"),
    beside("an offset of 5,000 digits", external("data", "9" * 5000), "offset"),
    beside("data here and there", external("data", raw_data=bytes(8)), "both"),
]  # fmt: skip
