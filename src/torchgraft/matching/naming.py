"""Names taken apart: the path of a layer, and what its tensors are to it, in PyTorch's words.

The words are those of libraries, not of models: Keras says `moving_variance`, Flax keeps `batch_stats`, Haiku
puts `~` between scopes, Paddle numbers its leaves, and MXNet and Caffe2 write whole paths with underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["COUNTER", "is_flat", "taken_apart"]

COUNTER = "num_batches_tracked"
"""Goes with its module and decides nothing: old files lack it."""

_LEAVES = {
    "weight": "weight", "kernel": "weight", "gamma": "weight", "scale": "weight", "w": "weight",
    "weights": "weight", "embedding": "weight", "embeddings": "weight", "depthwise_kernel": "weight",
    "w_0": "weight",
    "bias": "bias", "beta": "bias", "b": "bias", "offset": "bias", "biases": "bias", "b_0": "bias",
    "running_mean": "running_mean", "moving_mean": "running_mean", "mean": "running_mean",
    "w_1": "running_mean",
    "running_var": "running_var", "moving_variance": "running_var", "moving_var": "running_var",
    "var": "running_var", "w_2": "running_var",
    COUNTER: COUNTER,
}  # fmt: skip
_IN_FLAT_NAMES = {**_LEAVES, "s": "weight", "rm": "running_mean", "riv": "running_var"}
_AVERAGES = {"mean_ema": "running_mean", "var_ema": "running_var"}

_SCOPES = {"~", "params", "batch_stats"}
"""No parts of a layer's name: Haiku's marks, and the two trees in which Flax keeps weights and statistics."""

_SHALLOW, _MOST = 2, 0.9
"""Names of this many components at most, a layer and its leaf, and the share of them in a flat file."""

_PACKED = 0.3
"""Share of names with two numbers in one component (`stage_2_block_0`), from which a file is flat, too."""

_NUMBER_TOKEN = re.compile(r"(?<![^_])\d+(?![^_])")

_ATTACHED = re.compile(r"(.+)_(weight|bias)")  # in_proj_weight: a layer that lives as bare parameters
_FLAT_ATTACHED = re.compile(
    rf"(.+?)_({'|'.join(sorted(_IN_FLAT_NAMES, key=len, reverse=True))})", re.IGNORECASE
)


def is_flat(names: Iterable[str]) -> bool:
    """Whether these names have no depth of their own, so that underscores stand for it."""
    components = [re.split(r"[./]", name) for name in names]
    shallow = sum(len(parts) <= _SHALLOW for parts in components)
    packed = sum(any(len(_NUMBER_TOKEN.findall(part)) > 1 for part in parts) for parts in components)
    return shallow >= _MOST * len(components) or packed >= _PACKED * len(components)


def taken_apart(name: str, *, flat: bool) -> tuple[tuple[str, ...], str]:
    """The layer's path, and the leaf; a tensor of no layer is its own, with an empty leaf."""
    *path, last = re.split(r"[./]", name)
    path = [part for part in path if part not in _SCOPES]
    last = last.partition(":")[0]
    known = last.lower()
    if last == "average" and path and path[-1] in _AVERAGES:
        leaf = _AVERAGES[path.pop()]
    elif known in _LEAVES:
        leaf = _LEAVES[known]
    elif flat and (attached := _FLAT_ATTACHED.fullmatch(last)):
        path, leaf = [*path, attached[1]], _IN_FLAT_NAMES[attached[2].lower()]
    elif attached := _ATTACHED.fullmatch(last):
        path, leaf = [*path, attached[1]], attached[2]
    else:
        path, leaf = [*path, last], ""
    if flat:
        path = [part for component in path for part in component.split("_") if part]
    return tuple(path), leaf
