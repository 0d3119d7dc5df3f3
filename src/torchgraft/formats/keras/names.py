"""Names for the weights of a Keras 3 file, which numbers them: `layers/conv2d/vars/0` becomes `conv1/kernel`.

A group for each layer holds its variables by number, and other groups its parts. In lists of layers the
group's name is the layer's class with a number; the layer's own name stands in an attribute. What a number
means is told by the class, when the number of variables and their shapes fit it; otherwise it stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torchgraft.formats.hdf5 import Dataset, Group
from torchgraft.formats.keras.config import KerasConfig, group_name

__all__ = ["Variable", "find_variables", "is_keras3"]

_VARIABLES = "vars"
_LISTS = {"layers", "_layer_checkpoint_dependencies"}
"""The list that a functional or sequential model keeps its layers in; the second is TensorFlow 2.13's."""

_KERNEL_BIAS = (("kernel", "bias"), ("kernel",))
_CLASSES: dict[str, tuple[tuple[str, ...], ...]] = {
    **dict.fromkeys(
        ("dense", "einsum_dense", "conv1d", "conv2d", "conv3d", "conv1d_transpose", "conv2d_transpose",
         "conv3d_transpose", "depthwise_conv1d", "depthwise_conv2d"),
        _KERNEL_BIAS,
    ),
    **dict.fromkeys(
        ("separable_conv1d", "separable_conv2d"),
        (("depthwise_kernel", "pointwise_kernel", "bias"), ("depthwise_kernel", "pointwise_kernel")),
    ),
    **dict.fromkeys(
        ("lstm_cell", "gru_cell", "simple_rnn_cell"),
        (("kernel", "recurrent_kernel", "bias"), ("kernel", "recurrent_kernel")),
    ),
    "embedding": (("embeddings",),),
    "batch_normalization": (("gamma", "beta", "moving_mean", "moving_variance"),),
    "layer_normalization": (("gamma", "beta"),),
    "group_normalization": (("gamma", "beta"),),
}  # fmt: skip
_RANKS = {
    "embeddings": 2,
    "gamma": 1,
    "beta": 1,
    "moving_mean": 1,
    "moving_variance": 1,
    "recurrent_kernel": 2,
}
_ATTENTION = {"query_dense", "key_dense", "value_dense", "output_dense"}
_PLAIN_RANKS = {"dense": 2, "lstm_cell": 2, "gru_cell": 2, "simple_rnn_cell": 2}


@dataclass(frozen=True, slots=True)
class Variable:
    """A stored variable.

    Attributes:
        name: A name that tells what it is, or its path where that is not certain.
        path: Its path in the file.
        dataset: Its values.
        kind: The class of its layer as a group is called by it, `"conv2d"`, if it is known.
    """

    name: str
    path: str
    dataset: Dataset
    kind: str | None


def is_keras3(group: Group) -> bool:
    """Whether any group in it holds variables by number."""
    stack = [group]
    while stack:
        here = stack.pop()
        for name, member in here.members.items():
            if isinstance(member, Group):
                if name == _VARIABLES and "0" in member.members:
                    return True
                stack.append(member)
    return False


def find_variables(root: Group, config: KerasConfig, *, leave_out: str = "") -> list[Variable]:
    """All variables in the file's order, but for those of one member of the root.

    Args:
        root: The file's root.
        config: The model's configuration, as far as it is known.
        leave_out: The name of that member.
    """
    found: list[Variable] = []
    stack: list[tuple[Group, str, str | None]] = [(root, "", None)]
    while stack:
        group, label, kind = stack.pop()
        variables = group.members.get(_VARIABLES)
        if isinstance(variables, Group):
            found += _of_layer(variables, label, kind, config)
        below = []
        # An object with parts has a group for its variables, even if it has none; a list has not.
        in_list = variables is None
        for name, member in group.members.items():
            if name == _VARIABLES or (group is root and name == leave_out):
                continue
            if isinstance(member, Dataset):
                path = f"{group.path}/{name}" if group.path else name
                found.append(Variable(path, path, member, None))
                continue
            given, known = _identify(name, member, config, in_list=in_list)
            drop = name in _LISTS and _VARIABLES not in member.members
            below.append((member, label if drop else f"{label}/{given}" if label else given, known))
        stack.extend(reversed(below))
    counts = Counter(variable.name for variable in found)
    return [
        variable if counts[variable.name] == 1 else replace(variable, name=variable.path)
        for variable in found
    ]


def _identify(name: str, group: Group, config: KerasConfig, *, in_list: bool) -> tuple[str, str | None]:
    """What a group is called, and its layer's class."""
    own = group.members.get(_VARIABLES)
    given = own.attributes.get("name") if isinstance(own, Group) else None
    if not isinstance(given, str) or not given:
        return name, re.sub(r"_\d+$", "", name) if in_list else None
    if in_list:
        return given, group_name(config.classes.get(given, "")) or re.sub(r"_\d+$", "", name)
    if name in _ATTENTION:
        return name, "einsum_dense"
    return name, group_name(config.classes.get(given, "")) or re.sub(r"_\d+$", "", given)


def _of_layer(group: Group, label: str, kind: str | None, config: KerasConfig) -> Iterator[Variable]:
    numbered = sorted(group.members.items(), key=lambda member: (len(member[0]), member[0]))
    datasets = [(name, member) for name, member in numbered if isinstance(member, Dataset)]
    shapes = [member.tensor.shape if member.tensor is not None else () for _, member in datasets]
    given = group.attributes.get("name")
    settings = config.settings.get(given, {}) if isinstance(given, str) else {}
    by_number = [name for name, _ in datasets] == [str(number) for number in range(len(datasets))]
    names = _names(kind or "", shapes, settings) if by_number else None
    for index, (number, dataset) in enumerate(datasets):
        leaf = names[index] if names is not None else f"{_VARIABLES}/{number}"
        yield Variable(
            f"{label}/{leaf}" if label else leaf, f"{group.path}/{number}", dataset, kind if names else None
        )


def _names(
    kind: str, shapes: list[tuple[int, ...]], settings: Mapping[str, object]
) -> tuple[str, ...] | None:
    """What a layer's variables are, if that is certain."""
    choices = _CLASSES.get(kind, ())
    if kind.endswith("_normalization") and choices:
        absent = {
            name for name, flag in (("gamma", "scale"), ("beta", "center")) if settings.get(flag) is False
        }
        choices = (tuple(name for name in choices[0] if name not in absent),)
    for names in choices:
        if len(names) == len(shapes) and all(
            len(shape) == _RANKS.get(name, len(shape)) for name, shape in zip(names, shapes, strict=True)
        ):
            kernel = shapes[0]
            if "kernel" in names and len(kernel) != _PLAIN_RANKS.get(kind, max(len(kernel), 2)):
                continue
            if "gamma" in names and len(set(shapes)) > 1:
                continue
            if "recurrent_kernel" in names and kernel[-1] != shapes[1][-1]:
                continue
            return names
    return None
