"""TorchScript archives and exported programs, whose code must not run."""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from corpus.hostile_pickles import CALLS
from corpus.items import Bad, Inert, Item, Odd, Site, Values, zipped
from corpus.plain_pickles import Run
from corpus.zip_pickles import ONES, remade, saved

CONFIG = "data/weights/model_weights_config.json"


class Attributes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 3, bias=False)
        self.register_buffer("buffer", torch.ones(2))
        self.plain = torch.full((3,), 2.0)
        self.register_buffer("hidden", torch.zeros(1), persistent=False)
        self.own = nn.Parameter(torch.full((1,), 3.0))
        self.list = [torch.ones(1)]
        self.number = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + self.plain + self.own + self.list[0]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(x))


def convolutions() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1, bias=False))


def scripted(model: Any) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(model, buffer)
    return buffer.getvalue()


@functools.cache
def linear() -> bytes:
    return scripted(torch.jit.script(nn.Linear(2, 1)))


def script(name: str, make: Callable[[], Any]) -> Odd:
    def write(site: Site) -> tuple[Any, Values]:
        path = site.write(scripted(make()))
        return path, torch.jit.load(str(path)).state_dict()

    return Odd(f"script: {name}", write, None)


def spoilt(
    name: str, kind: str, change: Callable[[bytes], bytes | None], *told: str, deflated: bool = False
) -> Bad:
    """An archive whose entries of this ending are changed."""
    return Bad(
        f"script: {name}",
        lambda site: site.write(remade(
            linear(), lambda entry, data: change(data) if entry.endswith(kind) else data, deflated=deflated
        )),
        told,
    )  # fmt: skip


def running_code(site: Site) -> tuple[Any, Values]:
    """Code that would run if it were Python's and somebody imported it."""
    attack = f"open({str(site.canary)!r}, 'w')\n__import__('os').system('touch {site.canary}')\n".encode()
    made = remade(linear(), lambda entry, data: attack + data if entry.endswith(".py") else data)
    theirs = torch.jit.load(io.BytesIO(linear())).state_dict()
    return site.write(made), theirs


def hostile_script(site: Site) -> Any:
    """A script's pickle that is a call."""
    call = CALLS["os.system"](site.canary)
    return site.write(remade(linear(), lambda entry, data: call if entry.endswith("/data.pkl") else data))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.tied = nn.Linear(2, 3)
        self.tied.weight = self.layer.weight
        self.register_buffer("buffer", torch.ones(2))
        self.small = nn.Parameter(torch.randn(3).half())
        self.flipped = nn.Parameter(torch.randn(3, 2).t())
        self.part = nn.Parameter(torch.randn(12)[3:9:2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + self.tied(x) + self.small + self.buffer.sum() + self.flipped.sum()


@functools.cache
def exported() -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(Net(), (torch.randn(4, 2),)), buffer)
    return buffer.getvalue()


def changed(edit: Callable[[dict[str, Any]], object] = lambda config: None, **more: bytes) -> bytes:
    """The exported program with its configuration edited, and entries replaced by their last name."""

    def change(name: str, data: bytes) -> bytes:
        if name.endswith(CONFIG):
            config = json.loads(data)
            edit(config["config"])
            return json.dumps(config).encode()
        return more.get(name.rpartition("/")[2], data)

    return remade(exported(), change, deflated=True)


def export(name: str, edit: Callable[[dict[str, Any]], object], *told: str) -> Bad:
    return Bad(f"export: {name}", lambda site: site.write(changed(edit)), told)


def meta(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["layer.weight"]["tensor_meta"].update(changes)


def as_exported(deflated: bool) -> Callable[[Site], tuple[Any, Values]]:
    def write(site: Site) -> tuple[Any, Values]:
        path = site.write(changed() if deflated else exported())
        return path, torch.export.load(io.BytesIO(exported())).state_dict

    return write


def older_export(tree: Any) -> bytes:
    """Up to PyTorch 2.7 the state dict was a file of `torch.save` in the archive."""
    return zipped({
        "serialized_exported_program.json": b"{}", "serialized_state_dict.pt": saved(tree), "version": b"8.5",
    })  # fmt: skip


def hostile_state(site: Site) -> Any:
    return site.write(older_export({"w": torch.ones(4), "x": Run(f"touch '{site.canary}'")}))


def hostile_weight(site: Site) -> Any:
    """A weight that is said to be pickled, and is a call."""
    with zipfile.ZipFile(io.BytesIO(exported())) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(CONFIG)]
        place = json.loads(archive.read(name))["config"]["buffer"]["path_name"]
    hostile = saved(Run(f"touch '{site.canary}'"))
    return site.write(changed(lambda config: config["buffer"].update(use_pickle=True), **{place: hostile}))


OLDER = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}
ITEMS: list[Item] = [
    script("attributes of all kinds", lambda: torch.jit.script(Attributes())),
    script("tied", lambda: torch.jit.script(Tied())),
    script("traced", lambda: torch.jit.trace(convolutions().eval(), torch.randn(1, 3, 8, 8))),
    script("half precision", lambda: torch.jit.script(convolutions().half())),
    Odd("script: code that would do harm", running_code, None),
    Bad("script: os.system for the module", hostile_script, ("no weights",)),
    spoilt("no code", ".py", lambda _: None, "the code of class"),
    spoilt("code of another class", ".py", lambda data: data.replace(b"class Linear", b"class Lineal"),
           ".py", "'Linear' is not in it"),
    spoilt("16 MB of code", ".py", lambda data: data + b"#" * (1 << 24), "more code than is read",
        deflated=True),
    spoilt("no constants", "constants.pkl", lambda _: None, "TorchScript"),
    spoilt("no data", "data.pkl", lambda _: None, "TorchScript"),
    spoilt("half a pickle", "/data.pkl", lambda data: data[:60], "data.pkl"),
    spoilt("a missing storage", "/data/0", lambda _: None, "data.pkl", "'0' is not in the archive"),
    spoilt("a short storage", "/data/0", lambda data: data[:-1], "'0' needs 8 bytes and has 7"),
    spoilt("names beyond UTF-8", ".py", lambda data: b"\xff" + data.replace(b"Linear", b"\xff"), "not in it"),
    Odd("export: as PyTorch writes it", as_exported(False), None),
    Odd("export: a deflated copy", as_exported(True), None),
    Odd("export: of PyTorch 2.7", lambda site: (site.write(older_export(OLDER)), OLDER), None),
    Inert("export: a call in an older state dict", hostile_state, "posix.system"),
    Bad("export: a weight that is a call", hostile_weight, ("'buffer' is said to be a tensor",)),
    export("no such entry", lambda config: config["buffer"].update(path_name="weight_99"), CONFIG,
        "the entry of 'buffer' is missing"),
    export("a path out of it", lambda config: config["buffer"].update(path_name="../../../x"), CONFIG,
        "the entry of 'buffer' is missing"),
    export("no entry", lambda config: config["buffer"].pop("path_name"), "buffer"),
    export("a number", lambda config: config.update(buffer=3), "buffer"),
    export("no such dtype", meta(dtype=99), "'layer.weight' is described in a way"),
    export("a wider dtype", meta(dtype=8), "weight"),
    export("sparse", meta(layout=1), "layer.weight"),
    export("larger", meta(sizes=[{"as_int": 30}, {"as_int": 2}]), "exceeds its 24 bytes"),
    export("negative", meta(sizes=[{"as_int": -3}, {"as_int": 2}]), "impossible"),
    export("symbolic", meta(sizes=[{"as_expr": "s0"}, {"as_int": 2}]), "layer.weight"),
    export("beyond the end", meta(storage_offset={"as_int": 1}), "exceeds its 24 bytes"),
    Bad("export: an older state dict that inflates", lambda site: site.write(zipped(
        {"serialized_state_dict.pt": bytes(1 << 27)}, deflated=True)), ("serialized_state_dict.pt",
            "compressed file of 134,217,728")),
    Bad("export: an older state dict that is none", lambda site: site.write(zipped(
        {"serialized_state_dict.pt": ONES})), ("serialized_state_dict.pt",)),
]  # fmt: skip
