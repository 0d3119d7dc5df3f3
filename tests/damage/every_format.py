"""A small honest checkpoint of every format. A format is added by a line in the table of its kind."""

from __future__ import annotations

from collections.abc import Callable

from damage.honest import Honest
from damage.honest_arrays import ARRAYS
from damage.honest_folders import FOLDERS
from damage.honest_graphs import GRAPHS
from damage.honest_torch import TORCH_FILES

__all__ = ["CHECKED", "HONEST"]

HONEST: dict[str, Callable[[], Honest]] = {**TORCH_FILES, **FOLDERS, **ARRAYS, **GRAPHS}

CHECKED = (
    "zip", "deflated zip", "odd tensors", "zip as torch.save packs it", "whole module", "TorchScript",
    "torch.export", "DCP", "npz", "deflated npz", "keras", "deflated keras",
    "HDF5 with checksums",
)  # fmt: skip
"""Those that keep checksums of their data."""
