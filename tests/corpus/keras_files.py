"""Keras: HDF5 files of two generations, and `.keras` archives."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from corpus.hdf5_files import hdf5, ones, read_by_h5py
from corpus.items import Bad, Item, Odd, Site, Values, zipped


def keras2(layers: dict[str, dict[str, Any]], **attributes: Any) -> bytes:
    """As Keras 2 wrote them."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = np.array([name.encode() for name in layers])
        for layer, weights in layers.items():
            group = file.require_group(layer)
            group.attrs["weight_names"] = np.array([name.encode() for name in weights], "S99")
            for name, value in weights.items():
                group[name] = value
        file.attrs.update(attributes)
    return buffer.getvalue()


def keras3(groups: dict[str, tuple[str, list[Any]]]) -> bytes:
    """As Keras 3 writes them: a layer's name, and its variables."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for place, (name, values) in groups.items():
            variables = file.create_group(f"{place}/vars")
            variables.attrs["name"] = name
            for index, value in enumerate(values):
                variables[str(index)] = value
    return buffer.getvalue()


DENSE = keras3({"layers/dense": ("d", [ones(2, 4), ones(4)])})
LAYER = {"dense": {"dense/kernel:0": np.arange(6, dtype="f4").reshape(2, 3), "dense/bias:0": ones(3)}}


def layer_missing() -> bytes:
    return keras2({"a": {"a/kernel:0": ones(2)}}, layer_names=np.array([b"a", b"bad"]))


def weight_missing() -> bytes:
    buffer = io.BytesIO(keras2({"bad": {"kernel:0": ones(2)}}))
    with h5py.File(buffer, "a") as file:
        file["bad"].attrs["weight_names"] = ["kernel:0", "../../etc/passwd"]
    return buffer.getvalue()


def weight_twice() -> bytes:
    buffer = io.BytesIO(keras2({"a": {"bad": ones(2)}}))
    with h5py.File(buffer, "a") as file:
        file["a"].attrs["weight_names"] = ["bad", "bad"]
    return buffer.getvalue()


def archive(*, deflated: bool = False, **entries: bytes) -> bytes:
    return zipped({name.replace("__", "."): data for name, data in entries.items()}, deflated=deflated)


def config(text: str) -> bytes:
    return archive(model__weights__h5=DENSE, config__json=text.encode())


def lambdas(site: Site) -> tuple[Path, Values]:
    """A configuration whose layer is code; Keras would run it."""
    code = {"class_name": "__lambda__", "config": {"code": "4wAAAAAA", "defaults": None}}
    layer = {"module": "os", "class_name": "Lambda", "config": {
        "name": "evil", "function": code, "module": f"os.mkdir({str(site.canary)!r})"}}  # fmt: skip
    model = {
        "class_name": "Sequential",
        "config": [layer, {"class_name": "Dense", "config": {"name": "dense"}}],
    }
    return site.write(keras2(LAYER, model_config=json.dumps(model))), LAYER["dense"]


LIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "a layer that is missing": (layer_missing(), ("layer 'bad' is listed but missing",)),
    "a weight by a path": (weight_missing(), ("etc/passwd' of /bad is listed but missing",)),
    "a weight twice": (weight_twice(), ("same name",)),
    "texts for a weight": (keras2({"bad": {"names": np.array([b"text"])}}), ("is not a tensor but texts",)),
    "a configuration that is none": (keras2(LAYER, model_config="{"), ("model_config", "no valid JSON")),
    ".keras: half a configuration": (config("{"), ("config.json", "no valid JSON")),
    ".keras: a deep configuration": (config("[" * 100_000), ("config.json", "JSON")),
    ".keras: a key twice": (config('{"a": 1, "a": 2}'), ("config.json", "twice")),
    ".keras: a configuration of lists": (config('{"a": [' + "[]," * 600_000 + "1]}"), ("values",)),
    ".keras: no HDF5": (archive(model__weights__h5=b"x" * 99), ("model.weights.h5", "superblock")),
    ".keras: half an HDF5": (archive(model__weights__h5=DENSE[:-200]), ("model.weights.h5", "truncated")),
    ".keras: weights that inflate": (
        archive(deflated=True, model__weights__h5=bytes((1 << 26) + 1)), ("model.weights.h5", "inflate"),
    ),
    ".keras: zeros that just may inflate": (
        archive(deflated=True, model__weights__h5=bytes(1 << 26)), ("model.weights.h5", "superblock"),
    ),
    ".keras: weights twice": (
        zipped([("model.weights.h5", DENSE), ("model.weights.h5", DENSE)]), ("two entries are called",),
    ),
    ".keras: an external link inside": (
        archive(model__weights__h5=hdf5(lambda f: f.__setitem__("bad",
            h5py.ExternalLink("../secret", "/a")))),
        ("model.weights.h5", "'bad'", "link to another file"),
    ),
}  # fmt: skip


def many_layers() -> tuple[bytes, dict[str, str]]:
    layers = {f"layer{n}": {f"layer{n}/kernel:0": np.full((2, 3), n, "f4")} for n in range(400)}
    return keras2(layers), {f"layer{n}/kernel:0": f"layer{n}/layer{n}/kernel:0" for n in range(400)}


CONV = np.arange(72, dtype="f4").reshape(3, 3, 2, 4)
KERAS3 = keras3({"layers/conv2d_1": ("stem", [CONV, ones(4)]), "layers/mine": ("own", [ones(2)])})
KERAS3_VALUES = {"stem/kernel": CONV, "stem/bias": ones(4), "own/vars/0": ones(2)}

ITEMS: list[Item] = [
    Odd("keras: Keras 2's weights", read_by_h5py(keras2(LAYER), {
        "dense/kernel:0": "dense/dense/kernel:0", "dense/bias:0": "dense/dense/bias:0"})),
    Odd("keras: 400 layers", read_by_h5py(*many_layers())),
    Odd("keras: a layer that is code", lambdas, None),
    Odd("keras: Keras 3's weights", lambda site: (site.write(KERAS3), KERAS3_VALUES)),
    *(Odd(f"keras: .keras, {'deflated' if deflated else 'stored'}", lambda site, deflated=deflated: (
        site.write(archive(deflated=deflated, model__weights__h5=KERAS3, config__json=b"{}",
            metadata__json=b"{}")),
        KERAS3_VALUES), None) for deflated in (False, True)),
    *(Bad(f"keras: {name}", lambda site, content=content: site.write(content), told)
      for name, (content, told) in LIES.items()),
]  # fmt: skip
