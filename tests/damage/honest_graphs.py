"""ONNX models and GGUF files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import gguf
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from damage.honest import Honest, one_file, written

__all__ = ["GRAPHS"]


def _onnx(kind: str) -> Honest:
    array = np.arange(6, dtype="f4").reshape(2, 3)
    made = [numpy_helper.from_array(array, "w"), numpy_helper.from_array(np.arange(4, dtype="i8"), "i")]
    parts = {}
    if kind == "typed":
        made = [
            helper.make_tensor("w", TensorProto.FLOAT, (2, 3), array.reshape(-1)),
            helper.make_tensor("d", TensorProto.DOUBLE, (2,), [1.0, 2.0]),
            helper.make_tensor("i", TensorProto.INT64, (3,), [1, -2, 300]),
            helper.make_tensor("h", TensorProto.FLOAT16, (2,), [1.0, 2.0]),
            helper.make_tensor("u", TensorProto.UINT8, (3,), [0, 128, 255]),
            helper.make_tensor("q", TensorProto.INT4, (3,), [-8, 7, 1]),
        ]
    elif kind == "external":
        for place, proto in enumerate(made):
            said = {"location": f"{place}.data", "offset": "8", "length": str(len(proto.raw_data))}
            parts[said["location"]] = bytes(8) + proto.raw_data
            proto.ClearField("raw_data")
            proto.data_location = TensorProto.EXTERNAL
            proto.external_data.extend(onnx.StringStringEntryProto(key=key, value=said[key]) for key in said)
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(3, "f4"), "c"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy"]
    nodes = [node, helper.make_node("Add", ["x", "c"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "main", ends[:1], ends[1:], made), producer_name="x")
    return Honest({"x": model.SerializeToString(), **parts})


def _gguf(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_array("tokens", ["a", "b"])
    writer.add_float32("scale", 0.5)
    writer.add_tensor("w", np.arange(6, dtype="f4").reshape(2, 3))
    writer.add_tensor("h", np.ones(3, "f2"))
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_K):
        blocks = np.arange(288 if kind.name == "Q4_K" else 68, dtype="u1").reshape(2, -1)
        writer.add_tensor(kind.name, blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _gguf_split() -> Honest:
    with TemporaryDirectory() as folder:
        writer = gguf.GGUFWriter(Path(folder) / "x.gguf", "llama", split_max_tensors=1)
        writer.add_block_count(2)
        for name in ("w", "v"):
            writer.add_tensor(name, np.arange(6, dtype="f4").reshape(2, 3))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        parts = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    return Honest(parts, opens=next(iter(parts)))


GRAPHS: dict[str, Callable[[], Honest]] = {
    "ONNX": lambda: _onnx("raw"),
    "ONNX typed": lambda: _onnx("typed"),
    "ONNX external": lambda: _onnx("external"),
    "GGUF": lambda: one_file(written(_gguf)),
    "split GGUF": _gguf_split,
}
