"""Values go back to where their paths lead."""

from __future__ import annotations

import pytest
from torch.distributed.checkpoint._nested_dict import flatten_state_dict

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats.folders.unflattening import unflatten


@pytest.mark.parametrize(
    "nested",
    [
        {},
        {"a": 1},
        {"model": {"0.weight": 1, "b": 2}, "optim": {"state": {"0": {"step": 3}}, "groups": [{"lr": 4}]}},
        {"a": {"b": {"c": {"d": 1}}, "e": 2}, "f": [1, [2, 3], {"g": [4]}]},
    ],
)  # fmt: skip
def test_what_pytorch_flattened(nested: dict[str, object]) -> None:
    values, paths = flatten_state_dict(nested)
    assert unflatten(values, paths, "file") == nested


def test_a_name_without_a_path_stays_flat() -> None:
    assert unflatten({"a.b": 1, "c": 2}, {"c": ("x", "y")}, "file") == {"a.b": 1, "x": {"y": 2}}


def test_places_with_gaps_are_no_list() -> None:
    paths = {"a": ("x", 0), "b": ("x", 1 << 60)}
    assert unflatten({"a": 1, "b": 2}, paths, "file") == {"x": {0: 1, 1 << 60: 2}}


@pytest.mark.parametrize(
    "paths",
    [
        {"a": ("x",), "b": ("x",)},
        {"a": ("x",), "b": ("x", "y")},
        {"a": ("x", "y"), "b": ("x",)},
        {"a": ("b",)},
        {"c": ("x",), "a": ("x", "y")},
        {"d": ("x",), "a": ("x", "y")},
    ],
)
def test_two_values_at_one_place(paths: dict[str, tuple[str | int, ...]]) -> None:
    with pytest.raises(CorruptCheckpointError, match="place of another"):
        unflatten({"c": {"z": 1}, "d": {}, "a": 1, "b": 2}, paths, "file")
