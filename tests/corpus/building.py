"""Writes the corpus: `python building.py ROOT` makes the files, and `ROOT/items.json` that tells of them.

A process of its own, as it loads every library that writes weights, and some warn of their own older formats.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402 (from here on there are warnings)
from safetensors.numpy import save  # noqa: E402

from corpus.fingerprints import fingerprint  # noqa: E402
from corpus.items import Inert, Item, Odd, Site  # noqa: E402

FAMILIES = (
    "zip_pickles",
    "zip_lies",
    "older_torch_files",
    "plain_pickles",
    "scripts_and_exports",
    "safetensors_files",
    "shard_folders",
    "distributed_folders",
    "numpy_files",
    "hdf5_files",
    "keras_files",
    "onnx_files",
    "gguf_files",
    "special_files",
)
"""Modules with `ITEMS`."""


def written(item: Item, place: Path) -> dict[str, Any]:
    """Write an item's files; what those who open and judge it have to know."""
    site = Site(place / "in", place / "canary", place / "secret")
    site.folder.mkdir(parents=True)
    site.secret.write_bytes(save({"secret": np.ones(2, np.float32)}))
    given = item.make(site)
    path, values = given if isinstance(given, tuple) else (given, {})
    if isinstance(item, Inert):
        values = {"w": np.ones(4, np.float32)}
    about = {key: value for key, value in asdict(item).items() if key != "make"}
    return about | {
        "kind": type(item).__name__,
        "path": str(path),
        "select": item.select if isinstance(item, Odd) else None,
        "folder": os.path.realpath(site.folder),
        "output": str(place / "output"),
        "canary": str(site.canary),
        "bytes": sum(path.lstat().st_size for path in site.folder.rglob("*")),
        "wanted": {name: fingerprint(value) for name, value in values.items()},
    }


def main() -> None:
    root = Path(sys.argv[1])
    items = [
        written(item, root / family / f"{number:03}") | {"family": family}
        for family in FAMILIES
        for number, item in enumerate(importlib.import_module(f"corpus.{family}").ITEMS)
    ]
    (root / "items.json").write_text(json.dumps(items))


if __name__ == "__main__":
    main()
