"""A Keras model's configuration, read as data: which layers it has, of which classes. Nothing is built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torchgraft.formats.strict_json import read_json_table
from torchgraft.storage.byte_file import ByteFile
from torchgraft.storage.memory import MemoryFile

__all__ = ["KerasConfig", "group_name", "parse_config", "read_config"]

_MAX_BYTES = 1 << 23
_MAX_DEPTH = 64
_INNER = ("layer", "forward_layer", "backward_layer", "cell")
"""What holds a layer within another layer's settings; `layers` and `cells` hold several."""


@dataclass(frozen=True, slots=True)
class KerasConfig:
    """What a configuration says.

    Attributes:
        summary: Class names and layer names, nested as the model is.
        classes: The class of each layer by the layer's name, as far as one name is of one class.
        settings: The settings of those layers.
    """

    summary: Mapping[str, object] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def parse_config(text: str, where: str) -> KerasConfig:
    """The configuration in an attribute of an HDF5 file.

    Raises:
        CheckpointError: It is no JSON, or far too large.
    """
    return read_config(MemoryFile(where, memoryview(bytearray(text.encode("utf-8", "surrogatepass")))))


def read_config(file: ByteFile) -> KerasConfig:
    """The configuration in a file of its own.

    Raises:
        CheckpointError: It is no JSON, or far too large.
    """
    table = read_json_table(file, max_bytes=_MAX_BYTES)
    classes: dict[str, str] = {}
    settings: dict[str, Mapping[str, object]] = {}
    unclear: set[str] = set()

    def visit(node: Mapping[str, object], depth: int) -> dict[str, object]:
        name, kind, own = _identity(node)
        if name and kind:
            if classes.setdefault(name, kind) != kind:
                unclear.add(name)
            settings.setdefault(name, own)
        summary: dict[str, object] = {"class_name": kind, "name": name}
        if depth < _MAX_DEPTH:
            inner = [visit(child, depth + 1) for child in _children(node, own)]
            if inner:
                summary["layers"] = inner
        return summary

    summary = visit(table, 0)
    known = {name: kind for name, kind in classes.items() if name not in unclear}
    return KerasConfig(summary, known, {name: settings[name] for name in known})


def group_name(class_name: str) -> str:
    """The name that Keras 3 gives the group of a layer of this class: `"conv2d_transpose"`."""
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", parted).lower()


def _identity(node: Mapping[str, object]) -> tuple[str, str, Mapping[str, object]]:
    """A layer's name, class and settings."""
    kind, own, name = node.get("class_name"), node.get("config"), node.get("name")
    settings = own if isinstance(own, dict) else {}
    inner = settings.get("name")
    found = inner if isinstance(inner, str) else name if isinstance(name, str) else ""
    return found, kind if isinstance(kind, str) else "", settings


def _children(node: Mapping[str, object], settings: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    own = node.get("config")
    several = [own] if isinstance(own, list) else [settings.get("layers"), settings.get("cells")]
    for layers in several:
        if isinstance(layers, list):
            yield from (layer for layer in layers if isinstance(layer, dict))
    for key in _INNER:
        layer = settings.get(key)
        if isinstance(layer, dict) and "class_name" in layer:
            yield layer
