"""Pickles without a frame around them, whole modules, and training runs' checkpoints."""

from __future__ import annotations

import argparse
import pickle
import struct
from collections import OrderedDict, defaultdict
from enum import Enum
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from corpus.hostile_pickles import BOMBS, CALLS, text
from corpus.items import Bad, Inert, Item, Make, Odd, Site, Values, file
from corpus.zip_pickles import saved

KINDS = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c8", "c16"]


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    base = np.random.default_rng(0).normal(size=(3, 4)) * 50
    made = {kind: base.astype(kind) for kind in KINDS}
    made |= {f"big {kind}": array.astype(array.dtype.newbyteorder(">")) for kind, array in made.items()}
    large = np.random.default_rng(1).normal(size=(100, 90))
    nan = np.array([np.nan, -0.0, np.inf], "f4")
    return made | {
        "fortran": np.asfortranarray(large),
        "scalar": np.array(2.5),
        "empty": np.empty((0, 3)),
        "nan": nan,
    }


def pickled(protocol: int) -> Odd:
    def write(site: Site) -> tuple[Any, Values]:
        content = pickle.dumps(arrays(), protocol)
        return site.write(content), pickle.loads(content)

    return Odd(f"pickle: NumPy, protocol {protocol}", write)


def tensors_pickled(site: Site) -> tuple[Any, Values]:
    """Each storage is a file of `torch.save` inside the pickle."""
    tied = torch.randn(3, 4)
    content = pickle.dumps({"a": tied, "t": tied.t(), "h": torch.randn(3).bfloat16(), "n": torch.arange(5)})
    return site.write(content), pickle.loads(content)


def jax_dtypes(site: Site) -> tuple[Any, Values]:
    import ml_dtypes

    made = {name: np.arange(6).astype(getattr(ml_dtypes, name)) for name in ("bfloat16", "float8_e4m3fn")}
    return site.write(pickle.dumps(made)), made


def pytorch(tree: Any, values: Any = None) -> Any:
    """Saved by `torch.save`; what is wanted, unless given, is the tree itself."""
    return lambda site: (site.write(saved(tree)), tree if values is None else values)


class Block(nn.Module):
    """With all that a module can have."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)])
        self.head = nn.Linear(4, 2)
        self.tied = nn.Linear(4, 2)
        self.tied.weight = self.head.weight
        self.register_buffer("hidden", torch.ones(3), persistent=False)
        self.register_buffer("kept", torch.ones(3))
        self.register_parameter("none", None)
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.note = {"a": [1, 2]}


def module(site: Site, *, parallel: bool = False) -> tuple[Any, Values]:
    torch.manual_seed(0)
    made = nn.DataParallel(Block()) if parallel else Block()
    return site.write(saved(made)), made.state_dict()


class Phase(Enum):
    TRAIN = "train"


class Unknown:
    """A class that whoever opens the file does not have."""

    def __init__(self, **state: object) -> None:
        self.__dict__ = state

    def __getstate__(self) -> object:
        return self.__dict__, {"slot": 1}


def training() -> dict[str, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    options = argparse.Namespace(
        lr=0.1, out=PurePosixPath("/a/b"), phase=Phase.TRAIN, seeds={1, 2}, size=(3, 4)
    )
    return {
        "state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "args": options,
        "config": SimpleNamespace(model=SimpleNamespace(depth=3)), "hooks": [Unknown(name="x", parent=None)],
        "meters": defaultdict(list, a=[1.0]), "best": np.float64(0.5), "rng": torch.get_rng_state(),
    }  # fmt: skip


def several_sets() -> dict[str, Any]:
    return {
        "generator": OrderedDict(w=torch.ones(2, 3), b=torch.zeros(2)),
        "critic": OrderedDict(w=torch.full((2, 3), 2.0), b=torch.ones(2)),
    }


def with_payload(name: str) -> Make:
    """A NumPy array of ones, and a call."""

    def write(site: Site) -> Any:
        made = CALLS[name](site.canary)
        ones = pickle.dumps(np.ones(4, np.float32), 2)[2:-1]
        tail = made[2:] if made.startswith(b"\x80") else made
        content = b"\x80\x04}" + text("w") + ones + b"s" + text("x") + tail[:-1] + b"s."
        return site.write(content)

    return write


class Setstate:
    """Its state is a call; in a class that keeps code in `__setstate__`, BUILD would run it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return argparse.Namespace, (), {"x": Run(self.command)}


class Run:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.system, (self.command,)


def state_payload(site: Site) -> Any:
    return site.write(saved({"w": torch.ones(4), "args": Setstate(f"touch '{site.canary}'")}))


def module_payload(site: Site) -> Any:
    """A module whose hook is a call."""
    made = nn.ParameterDict({"w": torch.ones(4)})
    made.evil = Run(f"touch '{site.canary}'")  # type: ignore[assignment]
    return site.write(saved(made))


def nested(depth: int) -> bytes:
    """A storage in a file in a storage's place in a file …"""
    from torch.storage import _load_from_bytes

    class Inner:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def __reduce__(self) -> tuple[object, object]:
            return _load_from_bytes, (self.data,)

    content = saved({"w": torch.ones(2, 2)})
    for level in range(depth):
        content = saved({"inner": Inner(content)}, _use_new_zipfile_serialization=level % 2 == 0)
    return pickle.dumps({"inner": Inner(content)})


def nested_bombs() -> bytes:
    """One file inside, read over and over."""
    blob = saved([0] * 50_000, _use_new_zipfile_serialization=False)
    calls = b"ctorch.storage\n_load_from_bytes\nh\x00\x85R0" * 1000
    return b"\x80\x03B" + struct.pack("<I", len(blob)) + blob + b"q\x00" + calls + b"."


def inner(data: bytes) -> bytes:
    return b"\x80\x03ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(data)) + data + b"\x85R."


WHOLE = pickle.dumps({"a": np.ones((40, 40), "f4")}, 3)
SHAPE = b"K(K(\x86"
OBJECTS = pickle.dumps({"a": np.array([1, "x", None], dtype=object)}, 4)


def object_array(site: Site) -> Any:
    return site.write(pickle.dumps({"a": np.array([Run(f"touch '{site.canary}'")], dtype=object)}, 4))


LIES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "bytes after it": (WHOLE + b"N.", ("2 bytes follow its pickle",)),
    "a larger shape": (WHOLE.replace(SHAPE, b"K)K(\x86"), ("shape (41, 40)", "6400 bytes")),
    "a shape that is none": (WHOLE.replace(SHAPE, b"K(N\x86"), ("no weights",)),
    "an array of objects": (OBJECTS, ("no weights",)),
    "half of it": (WHOLE[:3000], ("6400 bytes are announced",)),
    "all but the end": (WHOLE[:-1], ("breaks off",)),
    "files in files": (nested(6), ("nested 5 deep",)),
    "a file inside, over and over": (nested_bombs(), ("over and over",)),
    "a file inside that is none": (inner(b"x" * 9000), ("nested file at 39", "none that torch.save wrote")),
    "an empty file inside": (inner(b""), ("none that torch.save wrote",)),
    "an archive inside that is none": (inner(b"PK\x03\x04" + bytes(50)), ("zip archive",)),
    "a reference outside itself": (b"\x80\x02" + text("a") + b"Q.", ("outside itself",)),
    "no end": (b"\x80\x04" + b"N0" * 1000, ("breaks off",)),
    "a flood of memo entries": (b"\x80\x04N" + b"\x94" * 1_000_000 + b".", ("no weights",)),
    "a flood of marks and tuples": (b"\x80\x04" + b"(t0" * 700_000 + b"N.", ("no weights",)),
    "a persistent flood": (b"\x80\x02" + text("a") * 100_000 + b".", ("no weights",)),
    "a web page": (b"<!DOCTYPE html><html>Sign in</html>", ("a web page",)),
}  # fmt: skip

ITEMS: list[Item] = [
    *map(pickled, (0, 1, 2, 3, 4, 5)),
    Odd("pickle: tensors", tensors_pickled),
    Odd("pickle: JAX's dtypes", jax_dtypes),
    Odd("module: whole", module),
    Odd("module: in DataParallel", lambda site: module(site, parallel=True)),
    Odd("training: optimizer, Namespace, unknown classes", pytorch(training(), training()["state_dict"]),
        None),
    Odd("training: select a set", pytorch(several_sets(), several_sets()["critic"]), "critic"),
    Odd("training: Lightning", pytorch(
        {"state_dict": {"model.w": torch.ones(2, 2)}, "hyper_parameters": {"lr": 1}, "callbacks": {},
            "loops": None},
        {"model.w": torch.ones(2, 2)}), None),
    Odd("training: EMA beside", pytorch(
        {"model": {"w": torch.ones(2)}, "model_ema": {"w": torch.zeros(2)}, "optimizer": {"state": {}}},
        {"w": torch.zeros(2)}), "ema"),
    *(Bad(f"pickle: {name}", file(content), told) for name, (content, told) in LIES.items()),
    *(Bad(f"pickle: {name} alone", lambda site, name=name: site.write(CALLS[name](site.canary)), (told,))
      for name, told in (("os.system", "no weights"), ("eval by name on the stack", "no weights"),
                         ("getattr chain", "no weights"))),
    *(Bad(f"pickle: bomb: {name}",
        file(b"\x80\x04" + BOMBS[name][0].removeprefix(b"\x80\x02").removeprefix(b"\x80\x04")),
          (BOMBS[name][1],))
      for name in ("one list copied over and over", "marks", "bytes of 2⁶³ bytes",
          "a number of a million digits")),
    Bad("pickle: an array of objects that run", object_array, ("no weights",)),
    *(Inert(f"pickle: {name} beside an array", with_payload(name), shown)
      for name, shown in (("os.system", "posix.system"), ("__setstate__ that is exec", "codeop.Compile"),
                          ("INST", "builtins.exec"))),
    Inert("training: a Namespace whose state is a call", state_payload, "posix.system"),
    Inert("module: with a call for an attribute", module_payload, "ParameterDict"),
    Bad("training: two sets that fit equally", file(saved(several_sets())),
        ("2 sets of weights", "generator", "critic")),
    Bad("training: only an optimizer", file(saved({"optimizer": training()["optimizer"]})), ("no weights",)),
]  # fmt: skip
