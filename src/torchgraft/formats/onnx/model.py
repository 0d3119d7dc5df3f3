"""ONNX models: their initialisers and the tensors of their `Constant` nodes, read without the onnx package.

The messages are documented in onnx.proto. Exporters put weights into initialisers; some put them into nodes
that give a constant, and some of those into the branches of an `If`. All are weights here, under the name
that the graph gives them.
"""

from __future__ import annotations

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.container import Container, Format
from torchgraft.formats.onnx.external import ExternalFiles
from torchgraft.formats.onnx.protobuf import BYTES, VARINT, Field, Message
from torchgraft.formats.onnx.signature import read_value
from torchgraft.formats.onnx.start import is_onnx
from torchgraft.formats.onnx.tensor import lazy_tensor, read_pair, read_tensor_message
from torchgraft.storage.byte_file import ByteFile
from torchgraft.tensors import TensorRef

__all__ = ["ONNX"]

_MAX_DEPTH = 32
_MAX_SHOWN = 1000
_INNER = {"If", "Loop", "Scan", "SequenceMap"}
_SIMPLE = {2: "producer_name", 3: "producer_version", 4: "domain", 6: "doc_string"}


def _read(file: ByteFile) -> Container:
    message = Message(file)
    where = file.name
    metadata: dict[str, object] = {}
    opsets: dict[str, int] = {}
    graph: Field | None = None
    for part in message.fields(0, file.size, where):
        if part.number in {1, 5}:
            message.expect(part, VARINT, where)
            metadata["ir_version" if part.number == 1 else "model_version"] = part.signed
        elif part.number in _SIMPLE:
            metadata[_SIMPLE[part.number]] = message.text(part, where)
        elif part.number == 7:
            message.expect(part, BYTES, where)
            if graph is not None:
                raise CorruptCheckpointError("it has two graphs", where=where)
            graph = part
        elif part.number == 8:
            domain, version = _opset(message, part, where)
            opsets[domain or "ai.onnx"] = version
        elif part.number == 14:
            key, value = read_pair(message, part, where)
            metadata[f"metadata_props.{key}"] = value
    if graph is None or not opsets:
        raise CorruptCheckpointError(
            "the ONNX model has no graph or doesn't say which operators it uses",
            where=where,
            hint="the file may be truncated: download or save it again",
        )
    weights = _Weights(message)
    weights.read_graph(graph, 0, "")
    metadata |= {"opset_import": opsets, "graph": weights.graph_name}
    metadata["inputs"] = {name: value for name, value in weights.inputs.items() if name not in weights.tree}
    metadata["outputs"] = weights.outputs
    return Container(file.name, file.path, "onnx", weights.tree, metadata, forget=weights.external.forget)


class _Weights:
    """Walks a graph and those inside its nodes, and gathers their tensors."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._file = message.file.name
        self.external = ExternalFiles(message.file)
        self.tree: dict[str, object] = {}
        self.graph_name = ""
        self.inputs: dict[str, object] = {}
        self.outputs: dict[str, object] = {}

    def read_graph(self, graph: Field, depth: int, inside: str) -> None:
        """A graph; `inside` says where it is, for names that are there twice."""
        if depth > _MAX_DEPTH:
            raise UnsafeCheckpointError(f"graphs are nested over {_MAX_DEPTH} deep", where=self._file)
        where = f"{self._file}: graph {inside[:200]}" if inside else self._file
        for part in self._message.fields(graph.start, graph.end, where):
            if part.number == 1:
                self._read_node(part, depth, inside, where)
            elif part.number == 5:
                self._add(part, "", inside, where)
            elif part.number == 2 and not depth:
                self.graph_name = self._message.text(part, where)
            elif part.number in {11, 12} and not depth:
                found = self.inputs if part.number == 11 else self.outputs
                if part.number == 11 or len(found) < _MAX_SHOWN:
                    name, value = read_value(self._message, part, where)
                    found[name] = value
            elif part.number == 15:
                self._message.expect(part, BYTES, where)
                self.tree[f"sparse initializer {len(self.tree)}"] = "a sparse tensor, which is not read"

    def _read_node(self, node: Field, depth: int, inside: str, where: str) -> None:
        message = self._message
        message.expect(node, BYTES, where)
        name = kind = output = ""
        attributes: list[Field] = []
        for part in message.fields(node.start, node.end, where):
            if part.number == 2 and not output:
                output = message.text(part, where)
            elif part.number == 3:
                name = message.text(part, where)
            elif part.number == 4:
                kind = message.text(part, where)
            elif part.number == 5:
                message.expect(part, BYTES, where)
                attributes.append(part)
        if kind != "Constant" and kind not in _INNER:
            return
        for attribute in attributes:
            called = ""
            for part in message.fields(attribute.start, attribute.end, where):
                if part.number == 1:
                    called = message.text(part, where)
                elif part.number == 5 and kind == "Constant":
                    self._add(part, output, inside, where)
                elif part.number in {6, 11} and kind in _INNER:
                    message.expect(part, BYTES, where)
                    place = f"{name or output}.{called}"
                    self.read_graph(part, depth + 1, f"{inside}/{place}" if inside else place)

    def _add(self, part: Field, output: str, inside: str, where: str) -> None:
        """An initialiser, or the tensor of a node that gives it as this output."""
        self._message.expect(part, BYTES, where)
        said = read_tensor_message(self._message, part.start, part.end, where)
        if output:
            said.name = output
        name = said.name
        where = f"{self._file}: {name[:200]}"
        if name in self.tree and inside:
            # Two branches may use one name; the ONNX checker wouldn't let them, but exporters do.
            said.name = name = f"{inside}/{name}"
        if name in self.tree:
            raise CorruptCheckpointError("two tensors have this name", where=where)
        value = lazy_tensor(said, self._message, self.external, where)
        if not output or _is_weight(value):
            self.tree[name] = value


def _is_weight(value: object) -> bool:
    """Whether a constant is more than a number or a shape to compute with."""
    return (
        isinstance(value, TensorRef) and bool(value.shape) and value.dtype not in {"int64", "int32", "bool"}
    )


def _opset(message: Message, part: Field, where: str) -> tuple[str, int]:
    message.expect(part, BYTES, where)
    domain, version = "", 0
    for inner in message.fields(part.start, part.end, where):
        if inner.number == 1:
            domain = message.text(inner, where)
        elif inner.number == 2:
            version = inner.signed
    return domain, version


ONNX = Format("onnx", is_onnx, _read)
