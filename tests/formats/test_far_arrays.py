"""NumPy, ONNX and GGUF files far away: what is asked of the server when they are opened and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants
from onnx import TensorProto, helper, numpy_helper

from torchgraft.formats import read_container
from torchgraft.storage.prefetching import prefetched
from torchgraft.storage.remote_file import RemoteFile
from torchgraft.tensors import TensorRef

VALUES = {f"layer{n}": np.random.default_rng(n).random((500, 256), np.float32) for n in range(6)}


class Server:
    """The ranges of a file in memory, counted."""

    name = "https://host/model"

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)
        self.asked: list[int] = []

    def read_into(self, offset: int, into: memoryview) -> None:
        self.asked.append(len(into))
        into[:] = self._content[offset : offset + len(into)]

    def check(self) -> None:
        """The file never changes."""


def written(kind: str, path: Path) -> Path:
    if kind == "npy":
        np.save(path.with_suffix(".npy"), VALUES["layer0"])
        return path.with_suffix(".npy")
    if kind.startswith("npz"):
        save = np.savez_compressed if kind == "npz, compressed" else np.savez
        save(path.with_suffix(".npz"), **VALUES)
        return path.with_suffix(".npz")
    if kind == "onnx":
        weights = [numpy_helper.from_array(array, name) for name, array in VALUES.items()]
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
        model = helper.make_model(helper.make_graph([], "g", [], [output], weights))
        path.write_bytes(model.SerializeToString())
        return path
    writer = GGUFWriter(path, "x")
    for name, array in VALUES.items():
        if kind == "gguf, Q8_0":
            raw = quants.quantize(array, GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, raw, raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def refs(tree: object) -> list[TensorRef]:
    found = list(tree.values()) if isinstance(tree, dict) else [tree]
    assert all(isinstance(ref, TensorRef) for ref in found)
    return found


KINDS = ["npy", "npz", "npz, compressed", "onnx", "gguf", "gguf, Q8_0"]


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_the_same_and_come_together(kind: str, tmp_path: Path) -> None:
    path = written(kind, tmp_path / "x")
    server = Server(path.read_bytes())
    far = refs(read_container(RemoteFile(server)).tree)
    opening = len(server.asked)
    assert opening <= 10
    near = refs(read_container(path).tree)
    with prefetched(span for ref in far for span in ref.spans()):
        fetched = len(server.asked)
        for one, other in zip(far, near, strict=True):
            assert torch.equal(one.read(), other.read())
    assert fetched - opening <= 2
    assert len(server.asked) == fetched, "everything was there"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "npz, compressed"])
def test_a_slice_asks_for_its_rows_only(kind: str, tmp_path: Path) -> None:
    path = written(kind, tmp_path / "x")
    server = Server(path.read_bytes())
    ref = refs(read_container(RemoteFile(server)).tree)[-1]
    server.asked.clear()
    assert torch.equal(ref[300:302], refs(read_container(path).tree)[-1][300:302])
    assert sum(server.asked) <= 2 * 65536
