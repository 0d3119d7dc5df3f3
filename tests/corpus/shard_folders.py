"""Checkpoints in shards with an index, as the Hub keeps them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file

from corpus.hostile_pickles import CALLS, dict_with
from corpus.items import Bad, Inert, Item, Odd, Site, Values
from corpus.zip_pickles import ONES, pack

TENSORS = {
    f"layer.{n}.weight": torch.randn(4, 5, generator=torch.Generator().manual_seed(n)) for n in range(6)
}
ST, BIN = "model.safetensors.index.json", "pytorch_model.bin.index.json"


def shard(number: int, total: int = 3) -> str:
    return f"model-{number:05}-of-{total:05}.safetensors"


def save_shards(folder: Path, kind: str = "safetensors") -> Path:
    """As huggingface_hub splits a state dict: two tensors a file."""
    pattern = "model{suffix}.safetensors" if kind == "safetensors" else "pytorch_model{suffix}.bin"
    split = split_torch_state_dict_into_shards(TENSORS, filename_pattern=pattern, max_shard_size=160)
    for place, names in split.filename_to_tensors.items():
        held = {name: TENSORS[name] for name in names}
        save_file(held, folder / place) if kind == "safetensors" else torch.save(held, folder / place)
    index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
    path = folder / (ST if kind == "safetensors" else BIN)
    path.write_text(json.dumps(index, indent=2))
    return path


def shards(name: str, change: Callable[[Path], object], *told: str, kind: str = "safetensors") -> Bad:
    """Honest shards that are then spoilt, opened by the folder."""

    def write(site: Site) -> Path:
        change(save_shards(site.folder, kind))
        return site.folder

    return Bad(f"shards: {name}", write, told)


def say(**places: Any) -> Callable[[Path], None]:
    """Other files for tensors in an index; `None` removes one."""

    def change(index: Path) -> None:
        data = json.loads(index.read_text())
        for key, place in places.items():
            data["weight_map"][key.replace("_", ".")] = place
            if place is None:
                del data["weight_map"][key.replace("_", ".")]
        index.write_text(json.dumps(data))

    return change


def index(name: str, text: str, *told: str) -> Bad:
    """An index by hand beside honest shards, opened itself."""

    def write(site: Site) -> Path:
        path = save_shards(site.folder)
        path.write_text(text)
        return path

    return Bad(f"shards: {name}", write, told)


def link_out(index: Path) -> None:
    (index.parent / shard(2)).unlink()
    (index.parent / shard(2)).symlink_to("../secret")


def linked_index(site: Site) -> Path:
    """The whole index is a link to one outside."""
    outside = site.folder.parent / "outside"
    outside.mkdir()
    (site.folder / ST).symlink_to(f"../outside/{save_shards(outside).name}")
    return site.folder


def pipe(index: Path) -> None:
    (index.parent / shard(2)).unlink()
    os.mkfifo(index.parent / shard(2))


def twice(index: Path) -> None:
    data = index.read_text().replace('"weight_map": {', f'"weight_map": {{"layer.0.weight": "{shard(2)}",')
    index.write_text(data)


def the_cache(site: Site) -> tuple[Path, Values]:
    """The Hub's cache: a revision's files are links to blobs."""
    made = site.folder / "made"
    made.mkdir()
    save_shards(made)
    repository = site.folder / "models--org--name"
    snapshot = repository / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, path in enumerate(sorted(made.iterdir())):
        path.rename(repository / "blobs" / f"{number:064x}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number:064x}")
    return snapshot, TENSORS


def many_shards(site: Site) -> tuple[Path, Values]:
    tensors = {f"t{n}": torch.full((2,), float(n)) for n in range(200)}
    for number, (name, tensor) in enumerate(tensors.items(), 1):
        save_file({name: tensor}, site.folder / shard(number, 200))
    places = {name: shard(number, 200) for number, name in enumerate(tensors, 1)}
    (site.folder / ST).write_text(json.dumps({"weight_map": places}))
    return site.folder, tensors


def numbered(site: Site) -> tuple[Path, Values]:
    save_shards(site.folder).unlink()
    return site.folder, TENSORS


def in_folders(site: Site) -> tuple[Path, Values]:
    """Shards in a folder below, named by their paths."""
    index = save_shards(site.folder)
    (site.folder / "part").mkdir()
    data = json.loads(index.read_text())
    for name in {*data["weight_map"].values()}:
        shutil.move(site.folder / name, site.folder / "part" / name)
    data["weight_map"] = {key: f"part/{name}" for key, name in data["weight_map"].items()}
    index.write_text(json.dumps(data))
    return index, TENSORS


def beside_a_run(site: Site) -> tuple[Path, Values]:
    """As the Trainer leaves it: a pickled optimizer and arguments beside, which are not opened."""
    save_file(TENSORS, site.folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "training_args.bin", "rng_state.pth"):
        (site.folder / name).write_bytes(pack(CALLS["os.system"](site.canary)))
    return site.folder, TENSORS


def payload(site: Site) -> Path:
    """A call in a shard."""
    name = "pytorch_model-00001-of-00001.bin"
    (site.folder / name).write_bytes(pack(dict_with(CALLS["exec"](site.canary)), {"0": ONES}))
    (site.folder / BIN).write_text(json.dumps({"weight_map": {"w": name}}))
    return site.folder


def at(name: str) -> str:
    return json.dumps({"weight_map": {"a": name}})


ITEMS: list[Item] = [
    Odd("shards: safetensors, by the folder", lambda site: (save_shards(site.folder).parent, TENSORS)),
    Odd("shards: safetensors, by the index", lambda site: (save_shards(site.folder), TENSORS)),
    Odd("shards: bin", lambda site: (save_shards(site.folder, "bin").parent, TENSORS)),
    Odd("shards: the Hub's cache", the_cache),
    Odd("shards: 200 of them", many_shards),
    Odd("shards: without an index", numbered),
    Odd("shards: in a folder below", in_folders),
    Odd("folder: of the Trainer, with pickles beside", beside_a_run),
    Inert("shards: a call in a shard", payload, "builtins.exec"),
    shards("a missing one", lambda index: (index.parent / shard(2)).unlink(), "missing files", shard(2)),
    shards("a missing one, bin", lambda index: (index.parent / "pytorch_model-00002-of-00003.bin").unlink(),
           "missing files", "pytorch_model-00002-of-00003.bin", kind="bin"),
    shards("an extra one",
        lambda index: save_file({"y": torch.ones(1)}, index.parent / "model-00004-of-00003.safetensors"),
           "model-00004-of-00003.safetensors"),
    shards("a tensor that is not there", say(ghost=shard(1)), "'ghost' is not in", shard(1)),
    shards("a tensor that is elsewhere", say(layer_0_weight=shard(3)), "'layer.0.weight'", shard(3)),
    shards("a tensor that is not named", say(layer_0_weight=None), "'layer.0.weight'", shard(1)),
    shards("a tensor twice in the index", twice, "twice", "layer.0.weight"),
    shards("a damaged one", lambda index: (index.parent / shard(2)).write_bytes(
        (index.parent / shard(2)).read_bytes()[:-1]), shard(2)),
    shards("a pipe for one", pipe, shard(2), "a pipe"),
    shards("a link out of the folder", link_out, "link", shard(2)),
    Bad("shards: an index that is a link out", linked_index, ("link",)),
    *(index(f"a path: {told}", at(name), told, "leads out") for name, told in (
        ("../secret", "../secret"), ("sub/../../secret", "sub/../../secret"),
            ("/etc/hostname", "/etc/hostname"),
        ("..\\secret", "secret"), ("C:\\secret", "C:"))),
    index("a number for a file", '{"weight_map": {"a": 3}}', "json: a", "no file"),
    index("no file", at(""), "json: a", "no file"),
    index("a list for a map", '{"weight_map": []}', "weight_map"),
    index("an empty map", '{"weight_map": {}}', "weight_map"),
    index("two maps", '{"weight_map": {"a": "x"}, "weight_map": {}}', "twice"),
    index("a deep index", '{"weight_map": ' + "[" * 100_000, "JSON"),
    index("half an index", '{"weight_map": {"a": "x"}', "JSON"),
    index("a null character", '{"weight_map": {"a": "x\\u0000"}}', "leads out"),
    index("half a character", '{"weight_map": {"a": "\\ud800"}}', "\\ud800"),
    index("the folder itself", at("."), "this is a folder"),
    index("the index itself", at(ST), ST),
    index("20,000 files", json.dumps({"weight_map": {f"{n}": f"{n}" for n in range(20_000)}}),
        "20,000 files"),
]  # fmt: skip
