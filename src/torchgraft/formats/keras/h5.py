"""HDF5 files: Keras's (`.h5` with a model or its weights, `.weights.h5`), and any other with arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats.container import Container, Format
from torchgraft.formats.hdf5 import Dataset, Group, is_hdf5, read_hdf5
from torchgraft.formats.keras.config import KerasConfig, group_name, parse_config
from torchgraft.formats.keras.layouts import find_layouts
from torchgraft.formats.keras.names import find_variables, is_keras3
from torchgraft.storage.byte_file import ByteFile

__all__ = ["KERAS_H5", "keras3_tree"]

_LAYERS, _WEIGHTS = "layer_names", "weight_names"
_MODEL, _OPTIMIZER = "model_weights", "optimizer_weights"
_SHOWN_APART = {_LAYERS, _WEIGHTS, "model_config", "keras_version", "backend"}

_Tree = dict[str, object]


def _read(file: ByteFile) -> Container:
    root = read_hdf5(file)
    inner = root.members.get(_MODEL)
    model = inner if isinstance(inner, Group) else root
    metadata = {
        key: value
        for key in ("keras_version", "backend")
        if isinstance(value := root.attributes.get(key, model.attributes.get(key)), str)
    }
    text = root.attributes.get("model_config")
    config = parse_config(text, f"{file.name}: model_config") if isinstance(text, str) else KerasConfig()
    if _list(model, _LAYERS) is not None:
        return Container(
            file.name, file.path, "keras h5", _legacy_tree(root, model, config, file.name), metadata
        )
    if is_keras3(root):
        return Container(file.name, file.path, "keras weights h5", keras3_tree(root, config), metadata)
    return Container(file.name, file.path, "hdf5", dict(_plain(root)), metadata)


def keras3_tree(root: Group, config: KerasConfig) -> _Tree:
    """The weights in a file of Keras 3; with the optimizer's variables, if it has them, beside them."""
    weights = find_variables(root, config, leave_out="optimizer")
    kinds = {variable.name.rpartition("/")[0]: variable.kind for variable in weights}
    named = ((variable.name, variable.dataset) for variable in weights)
    tree = _marked(named, lambda path: kinds.get(path))
    optimizer = root.members.get("optimizer")
    if not isinstance(optimizer, Group):
        return tree
    return {_MODEL: tree, "optimizer": dict(_plain(optimizer, "optimizer/"))}


def _legacy_tree(root: Group, model: Group, config: KerasConfig, where: str) -> _Tree:
    """The weights in the order of the model, as its lists of names give it."""
    listed: list[tuple[str, str, Dataset]] = []
    for layer in _list(model, _LAYERS) or []:
        group = model.find(layer)
        if not isinstance(group, Group):
            raise _missing(f"layer {layer[:100]!r}", where)
        names = _list(group, _WEIGHTS) or []
        listed += [(layer, name, _dataset(group, name, where)) for name in names]
    # A name is the weight's own; two layers inside different models may use the same.
    counts = Counter(name for _, name, _ in listed)
    named = [(name if counts[name] == 1 else f"{layer}/{name}", found) for layer, name, found in listed]
    if len({name for name, _ in named}) < len(named):
        raise CorruptCheckpointError(
            "two weights of one layer have the same name", where=where, hint="save the model again"
        )

    def class_of(path: str) -> str | None:
        inner_first = (path, *reversed(path.split("/")))
        return next(
            (group_name(config.classes[part]) for part in inner_first if part in config.classes), None
        )

    weights = _marked(named, class_of)
    rest: _Tree = {}
    optimizer = root.members.get(_OPTIMIZER)
    if isinstance(optimizer, Group):
        own = _list(optimizer, _WEIGHTS) or []
        rest[_OPTIMIZER] = _marked(((name, _dataset(optimizer, name, where)) for name in own), lambda _: None)
    if config.summary:
        rest["model_config"] = config.summary
    used = {id(found) for _, _, found in listed}
    unlisted = {path: found.what for path, found in _datasets(model) if id(found) not in used}
    if unlisted and model is not root:
        rest["not listed by Keras"] = unlisted
    rest |= {
        key: value for key, value in root.attributes.items() if key.rstrip("0123456789") not in _SHOWN_APART
    }
    return {_MODEL: weights, **rest} if rest else weights


def _list(group: Group, name: str) -> list[str] | None:
    """A list of names: one attribute, or several with numbers where it is too long for one."""
    whole = group.attributes.get(name)
    if whole is None and f"{name}0" in group.attributes:
        parts: list[object] = []
        while isinstance(part := group.attributes.get(f"{name}{len(parts)}"), list):
            parts.append(part)
        whole = [text for part in parts if isinstance(part, list) for text in part]
    if not isinstance(whole, list):
        return None
    return [text for text in whole if isinstance(text, str)]


def _dataset(group: Group, name: str, where: str) -> Dataset:
    found = group.find(name)
    if not isinstance(found, Dataset):
        raise _missing(f"weight {name[:100]!r} of /{group.path[:100]}", where)
    if found.tensor is None:
        raise CorruptCheckpointError(
            f"weight {name[:100]!r} is not a tensor but {found.what}",
            where=where,
            hint="save the model as .keras, which says what its values are (bfloat16, for one)",
        )
    return found


def _missing(what: str, where: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{what} is listed but missing", where=where, hint="save the model again, or download the file again"
    )


def _marked(named: Iterable[tuple[str, Dataset]], class_of: Callable[[str], str | None]) -> _Tree:
    """Tensors by name, with their layouts; in place of what is none, what it is."""
    datasets = dict(named)
    shapes = {name: found.tensor.shape for name, found in datasets.items() if found.tensor is not None}
    layouts = find_layouts(shapes, class_of)
    return {
        name: found.what
        if found.tensor is None
        else replace(found.tensor, name=name, layout=layouts.get(name, ""))
        for name, found in datasets.items()
    }


def _plain(group: Group, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every array under its path."""
    for path, found in _datasets(group):
        name = path.removeprefix(prefix)
        yield name, found.what if found.tensor is None else replace(found.tensor, name=name)


def _datasets(group: Group) -> Iterator[tuple[str, Dataset]]:
    stack: list[tuple[str, Group | Dataset]] = [(group.path, group)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, Dataset):
            yield path, node
        else:
            below = [(f"{path}/{name}" if path else name, member) for name, member in node.members.items()]
            stack.extend(reversed(below))


KERAS_H5 = Format("keras h5", is_hdf5, _read)
