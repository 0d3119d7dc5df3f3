"""How Keras orders the dimensions of its weights, in letters for `TensorRef.layout`.

D, H and W are depth, height and width; I and O what goes in and comes out; M a depthwise convolution's
outputs for each input; N and D (in `IND`, `NDO`) attention heads and their size. Behind a colon stands the
order of the gates in a recurrent layer's last dimension, by Keras's letters: `IO:ifco` for LSTM, `IO:zrh`
for GRU, whose order PyTorch does not share; B is the dimension of a GRU's two biases.

The class of the layer decides where it is known, else the name of the weight, and then only as far as
the shapes of kernel and bias agree with it. A weight that lies as PyTorch's do, or of which nothing is
sure, has no layout.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

__all__ = ["find_layouts", "leaf_of"]

_SPATIAL = {3: "W", 4: "HW", 5: "DHW"}
_CLASSES: dict[str, dict[str, str]] = {"dense": {"kernel": "IO"}}
for _rank, _axes in ((1, "W"), (2, "HW"), (3, "DHW")):
    _CLASSES[f"conv{_rank}d"] = _CLASSES[f"convolution{_rank}d"] = {"kernel": f"{_axes}IO"}
    _CLASSES[f"conv{_rank}d_transpose"] = {"kernel": f"{_axes}OI"}
    _CLASSES[f"depthwise_conv{_rank}d"] = {"kernel": f"{_axes}IM", "depthwise_kernel": f"{_axes}IM"}
    _CLASSES[f"separable_conv{_rank}d"] = {"depthwise_kernel": f"{_axes}IM", "pointwise_kernel": f"{_axes}IO"}
_GATES = {4: ":ifco", 3: ":zrh", 1: ""}
_INWARD = {"query", "key", "value", "query_dense", "key_dense", "value_dense"}
_OUTWARD = {"attention_output", "output_dense"}
_OLD = re.compile(r"(.*)_([Wb])")  # Keras 1: conv1_W
_SUFFIX = re.compile(r"(?::\d+)$|_\d+(?::\d+)?$")

_Shapes = Mapping[str, tuple[int, ...]]


def find_layouts(shapes: _Shapes, class_of: Callable[[str], str | None]) -> dict[str, str]:
    """The layout of each weight, for those that have one.

    Args:
        shapes: The weights' shapes by name, such as `"conv/kernel:0"`.
        class_of: The class of the layer whose weights begin with a path, if it is known; as Keras 3 calls
            a group of it: `"conv2d_transpose"`.
    """
    layers: dict[tuple[str, str], dict[str, str]] = {}
    for name in shapes:
        path, stem, leaf = leaf_of(name)
        layers.setdefault((path, stem), {}).setdefault(leaf, name)
    found: dict[str, str] = {}
    for (path, stem), names in layers.items():
        leaves = {leaf: shapes[name] for leaf, name in names.items()}
        layer = "/".join(filter(None, (path, stem)))
        layouts = _of_layer(layer, leaves, class_of(layer))
        found.update((names[leaf], layout) for leaf, layout in layouts.items() if layout)
    return found


def leaf_of(name: str) -> tuple[str, str, str]:
    """A weight's path, the layer's name where Keras 1 put it before the weight's, and the bare name."""
    path, _, last = name.rpartition("/")
    if old := _OLD.fullmatch(last.partition(":")[0]):
        return path, old[1], old[2]
    return path, "", _SUFFIX.sub("", last)


def _of_layer(path: str, leaves: _Shapes, kind: str | None) -> dict[str, str]:
    if "recurrent_kernel" in leaves:
        return _recurrent(leaves)
    if kind in _CLASSES:
        return {
            leaf: layout
            for leaf, layout in _CLASSES[kind].items()
            if leaf in leaves and len(leaves[leaf]) == len(layout)
        }
    found = {}
    if "kernel" in leaves:
        found["kernel"] = _kernel(path.lower(), kind, leaves["kernel"], leaves.get("bias"))
    if "W" in leaves:
        found["W"] = _old_kernel(leaves["W"], leaves.get("b"))
    for leaf, last in (("depthwise_kernel", "IM"), ("pointwise_kernel", "IO")):
        if leaf in leaves and len(leaves[leaf]) in _SPATIAL:
            found[leaf] = _SPATIAL[len(leaves[leaf])] + last
    return found


def _kernel(path: str, kind: str | None, shape: tuple[int, ...], bias: tuple[int, ...] | None) -> str:
    if len(shape) == 2:
        return "" if kind == "einsum_dense" else "IO"
    last = path.rpartition("/")[2]
    if len(shape) == 3 and last in _INWARD and bias in (None, shape[1:]):
        return "IND"
    if len(shape) == 3 and last in _OUTWARD and bias in (None, shape[2:]):
        return "NDO"
    if kind == "einsum_dense":
        return ""  # its equation decides
    if len(shape) not in _SPATIAL:
        return ""
    order, outputs = "IO", shape[-1]
    if "depthwise" in last:
        order, outputs = "IM", shape[-2] * shape[-1]
    elif "transpose" in last or "deconv" in last:
        order, outputs = "OI", shape[-2]
    if bias is None and order == "IO" and shape[-1] == 1 < shape[-2]:
        return ""  # one output, or a depthwise kernel: nothing tells
    return _SPATIAL[len(shape)] + order if bias in (None, (outputs,)) else ""


def _old_kernel(shape: tuple[int, ...], bias: tuple[int, ...] | None) -> str:
    """Keras 1 could order kernels as Theano did, outputs first: only the bias tells."""
    if len(shape) == 2:
        return "IO"
    sure = len(shape) in _SPATIAL and bias == (shape[-1],) and shape[0] != shape[-1]
    return f"{_SPATIAL[len(shape)]}IO" if sure else ""


def _recurrent(leaves: _Shapes) -> dict[str, str]:
    """Kernels of a cell: all gates side by side, as many as the recurrent kernel is wider than high."""
    recurrent = leaves["recurrent_kernel"]
    if len(recurrent) < 2 or not recurrent[-2] or recurrent[-1] % recurrent[-2]:
        return {}
    gates = _GATES.get(recurrent[-1] // recurrent[-2])
    order = f"{_SPATIAL.get(len(recurrent), '')}IO"
    if gates is None or len(recurrent) != len(order):
        return {}
    found = {"recurrent_kernel": order + gates}
    kernel, bias = leaves.get("kernel", ()), leaves.get("bias", ())
    if len(kernel) == len(recurrent) and kernel[-1] == recurrent[-1]:
        found["kernel"] = order + gates
    if gates and bias[-1:] == recurrent[-1:]:
        found["bias"] = f"{'B' if len(bias) == 2 else ''}O{gates}"
    return found
