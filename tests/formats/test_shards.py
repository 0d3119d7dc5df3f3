"""Checkpoints in shards: whole, and with everything that an index and its files can get wrong."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file

import torchgraft as tg
from torchgraft.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats import read_container

TENSORS = {
    f"layer.{n}.weight": torch.randn(4, 5, generator=torch.Generator().manual_seed(n)) for n in range(6)
}
ST, BIN = "model.safetensors.index.json", "pytorch_model.bin.index.json"


def save_shards(folder: Path, kind: str = "safetensors", tensors: dict[str, torch.Tensor] = TENSORS) -> Path:
    """As huggingface_hub splits a state dict: two tensors a file."""
    folder.mkdir(exist_ok=True)
    pattern = "model{suffix}.safetensors" if kind == "safetensors" else "pytorch_model{suffix}.bin"
    split = split_torch_state_dict_into_shards(tensors, filename_pattern=pattern, max_shard_size=160)
    for file, names in split.filename_to_tensors.items():
        held = {name: tensors[name] for name in names}
        save_file(held, folder / file) if kind == "safetensors" else torch.save(held, folder / file)
    index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
    path = folder / (ST if kind == "safetensors" else BIN)
    path.write_text(json.dumps(index, indent=2))
    return path


def shard(number: int, total: int = 3) -> str:
    return f"model-{number:05}-of-{total:05}.safetensors"


def change(index: Path, **places: Any) -> None:
    """Say other files for tensors in an index; `None` removes one."""
    data = json.loads(index.read_text())
    for key, place in places.items():
        data["weight_map"][key.replace("_", ".")] = place
        if place is None:
            del data["weight_map"][key.replace("_", ".")]
    index.write_text(json.dumps(data))


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("asked", ["folder", "index"])
def test_the_same_tensors(
    kind: str, asked: str, tmp_path: Path, assert_same: Callable[[object, object], None]
) -> None:
    index = save_shards(tmp_path / "x", kind)
    container = read_container(index if asked == "index" else tmp_path / "x")
    assert container.format == ("safetensors shards" if kind == "safetensors" else "torch shards")
    assert container.path == (index if asked == "index" else tmp_path / "x")
    assert container.metadata["total_size"] == 6 * 80
    assert_same(container.tree, TENSORS)
    checkpoint = tg.open(index)
    assert {key: ref.name for key, ref in checkpoint.items()} == {key: key for key in TENSORS}


def test_storages_of_different_files_are_not_taken_for_tied(tmp_path: Path) -> None:
    """Each file of torch.save numbers its storages from 0."""
    save_shards(tmp_path / "x", "bin")
    read = tg.open(tmp_path / "x").state_dict()
    assert all(torch.equal(read[key], tensor) for key, tensor in TENSORS.items())


def test_tied_tensors_in_one_file_stay_tied(tmp_path: Path) -> None:
    base = torch.randn(3, 3)
    torch.save({"a": base, "b": base}, tmp_path / "pytorch_model-00001-of-00001.bin")
    places = dict.fromkeys("ab", "pytorch_model-00001-of-00001.bin")
    (tmp_path / BIN).write_text(json.dumps({"weight_map": places}))
    read = tg.open(tmp_path).state_dict()
    assert read["a"] is read["b"]


def open_files() -> int:
    """How many files this process has open, where the system tells."""
    listed = Path("/proc/self/fd")
    return len(list(listed.iterdir())) if listed.is_dir() else 0


def test_hundreds_of_shards_are_opened_lazily(tmp_path: Path) -> None:
    tensors = {f"t{n}": torch.full((2,), float(n)) for n in range(300)}
    for number, (name, tensor) in enumerate(tensors.items(), 1):
        save_file({name: tensor}, tmp_path / shard(number, 300))
    places = {name: shard(number, 300) for number, name in enumerate(tensors, 1)}
    (tmp_path / ST).write_text(json.dumps({"weight_map": places}))
    before = open_files()
    checkpoint = tg.open(tmp_path)
    if before:
        assert open_files() <= before + 130  # one for each held mapping
    read = checkpoint.state_dict()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    (tmp_path / shard(1, 300)).write_bytes((tmp_path / shard(2, 300)).read_bytes())
    with pytest.raises(CheckpointError, match="has changed"):
        checkpoint["t0"].read()


def test_values_that_are_no_tensors_need_not_be_in_the_index(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "version": 3}, tmp_path / "pytorch_model-00001-of-00001.bin")
    (tmp_path / BIN).write_text(json.dumps({"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}))
    assert tg.open(tmp_path).metadata["version"] == 3


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_every_way_not_to_fit_is_named_at_once(kind: str, tmp_path: Path) -> None:
    index = save_shards(tmp_path, kind)
    files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    (tmp_path / files[2]).unlink()
    change(index, layer_0_weight=files[1], ghost=files[0], layer_3_weight=None)
    with pytest.raises(CorruptCheckpointError) as caught:
        read_container(index)
    assert caught.value.where == str(index)
    for told in (
        f"missing files: {files[2]}",
        f"'ghost' is not in {files[0]}",
        f"'layer.0.weight' is not in {files[1]}",
        f"'layer.0.weight' is in {files[0]} and not in {files[1]}",
        f"'layer.3.weight' is in {files[1]}",
    ):
        assert told in caught.value.what
    assert "again" in str(caught.value.hint)


def test_a_tensor_in_two_shards_is_named(tmp_path: Path) -> None:
    index = save_shards(tmp_path)
    held = dict.fromkeys(("layer.4.weight", "layer.5.weight", "layer.0.weight"), torch.ones(1))
    save_file({name: tensor.clone() for name, tensor in held.items()}, tmp_path / shard(3))
    with pytest.raises(
        CorruptCheckpointError, match=f"'layer.0.weight' is in {shard(3)} and not in {shard(1)}"
    ):
        read_container(index)


def test_a_shard_that_the_index_does_not_know_is_named(tmp_path: Path) -> None:
    index = save_shards(tmp_path)
    change(index, layer_4_weight=None, layer_5_weight=None)
    for path in (index, tmp_path):
        with pytest.raises(CorruptCheckpointError, match=shard(3)) as caught:
            read_container(path)
        assert "does not name" in caught.value.what


def test_long_lists_of_problems_are_cut(tmp_path: Path) -> None:
    places = {f"{'k' * 1000}{n}": f"{'f' * 200}{n}" for n in range(5000)}
    (tmp_path / ST).write_text(json.dumps({"weight_map": places}))
    with pytest.raises(CorruptCheckpointError, match=r"\(5,000 in all\)") as caught:
        read_container(tmp_path)
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize(
    "place",
    [
        "../secret.safetensors",
        "sub/../../secret.safetensors",
        "{}/secret.safetensors",
        "..\\secret.safetensors",
    ],
)
def test_paths_may_not_leave_the_folder(place: str, tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "secret.safetensors")
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / ST).write_text(json.dumps({"weight_map": {"a": place.format(tmp_path)}}))
    for path in (folder, folder / ST):
        with pytest.raises(UnsafeCheckpointError, match="leads out") as caught:
            read_container(path)
        assert "secret" in caught.value.what


def test_links_may_not_leave_the_folder(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "secret.safetensors")
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / shard(1, 1)).symlink_to("../secret.safetensors")
    (folder / ST).write_text(json.dumps({"weight_map": {"a": shard(1, 1)}}))
    with pytest.raises(UnsafeCheckpointError, match="link"):
        read_container(folder)


@pytest.mark.parametrize("asked", ["folder", "index", "single"])
def test_the_hubs_cache(asked: str, tmp_path: Path, assert_same: Callable[[object, object], None]) -> None:
    index = save_shards(tmp_path / "made")
    if asked == "single":
        index = tmp_path / "made" / "model.safetensors"
        for file in (tmp_path / "made").iterdir():
            file.unlink()
        save_file(TENSORS, index)
    repository = tmp_path / "models--org--name"
    snapshot = repository / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, file in enumerate(sorted((tmp_path / "made").iterdir())):
        file.rename(repository / "blobs" / f"{number:064x}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number:064x}")
    tree = read_container(snapshot / index.name if asked == "index" else snapshot).tree
    assert isinstance(tree, dict)
    assert_same({key: tree[key] for key in TENSORS}, TENSORS)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"weight_map": {"a": 3}}', id="a number for a file"),
        pytest.param('{"weight_map": {"a": null}}', id="null for a file"),
        pytest.param('{"weight_map": {"a": ["x"]}}', id="a list for a file"),
        pytest.param('{"weight_map": {"a": ""}}', id="no file"),
        pytest.param('{"weight_map": []}', id="a list for a map"),
        pytest.param('{"weight_map": {}}', id="nothing in it"),
        pytest.param('{"weight_map": {"a": "x", "a": "y"}}', id="a tensor twice"),
        pytest.param('{"weight_map": {"a": "x"}, "weight_map": {}}', id="two maps"),
        pytest.param('{"weight_map": ' + "[" * 100_000, id="deep"),
        pytest.param('{"weight_map": {"a": "x"}', id="half"),
        pytest.param('{"weight_map": {' + ",".join(f'"{n}": ""' for n in range(600_000)) + "}}", id="many"),
        pytest.param('{"weight_map": {"a": "x' + "\\u0000" + '"}}', id="a null character"),
        pytest.param('{"weight_map": {"a": "\\ud800"}}', id="half a character"),
        pytest.param('{"weight_map": {"a": "' + "x" * 9000 + '"}}', id="a long name"),
        pytest.param('{"weight_map": {"a": "."}}', id="the folder itself"),
        pytest.param('{"weight_map": {"a": "model.safetensors.index.json"}}', id="the index itself"),
        pytest.param('{"weight_map": {"a": "pipe"}}', id="a pipe"),
        pytest.param(
            '{"weight_map": {' + ",".join(f'"{n}": "{n}"' for n in range(10_001)) + "}}", id="files"
        ),
    ],
)
@pytest.mark.parametrize("asked", ["folder", "index"])
def test_a_hostile_index_is_refused(text: str, asked: str, tmp_path: Path) -> None:
    index = tmp_path / ST
    index.write_text(text)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError) as caught:
        read_container(index if asked == "index" else tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_a_shard_that_is_damaged_is_named(tmp_path: Path) -> None:
    save_shards(tmp_path)
    path = tmp_path / shard(2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptCheckpointError, match=shard(2)):
        read_container(tmp_path)


def test_a_shard_must_be_a_table(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "pytorch_model-00001-of-00001.bin")
    (tmp_path / BIN).write_text(json.dumps({"weight_map": {"0": "pytorch_model-00001-of-00001.bin"}}))
    with pytest.raises(CorruptCheckpointError, match="not a table of named tensors"):
        read_container(tmp_path)


def test_numbered_shards_need_no_index(tmp_path: Path, assert_same: Callable[[object, object], None]) -> None:
    save_shards(tmp_path).unlink()
    container = read_container(tmp_path)
    assert container.format == "safetensors shards"
    assert_same(container.tree, TENSORS)


def test_numbered_shards_must_all_be_there(tmp_path: Path) -> None:
    save_shards(tmp_path).unlink()
    (tmp_path / shard(2)).unlink()
    with pytest.raises(CorruptCheckpointError, match="missing shards: 00002"):
        read_container(tmp_path)
    (tmp_path / shard(2)).write_bytes((tmp_path / shard(1)).read_bytes())
    with pytest.raises(CorruptCheckpointError, match=f"'layer.0.weight' is in {shard(1)} and in {shard(2)}"):
        read_container(tmp_path)
    (tmp_path / shard(2)).rename(tmp_path / shard(4))
    with pytest.raises(CorruptCheckpointError, match="missing shards: 00002"):
        read_container(tmp_path)


def test_a_slice_reads_one_shard(tmp_path: Path) -> None:
    """The others are gone by then."""
    save_shards(tmp_path)
    checkpoint = tg.open(tmp_path)
    (tmp_path / shard(1)).unlink()
    (tmp_path / shard(3)).unlink()
    rows = checkpoint["layer.3.weight"][1:2]
    assert torch.equal(rows, TENSORS["layer.3.weight"][1:2])


def test_mutations_of_the_index_do_no_harm(tmp_path: Path) -> None:
    """Refused by a `CheckpointError` that names the folder, or read without any other error."""
    index = save_shards(tmp_path)
    honest = index.read_bytes()
    rng = random.Random(7)
    opened = unnamed = 0
    for number in range(300):
        spoilt = bytearray(honest)
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(len(spoilt))
            spoilt[at : at + rng.randint(0, 2)] = rng.choice([b"", b'"', b"{", b"..", b"/", rng.randbytes(2)])
        index.write_bytes(spoilt)
        try:
            read_container(index if number % 2 else tmp_path)
            opened += 1
        except CheckpointError as error:
            unnamed += str(tmp_path) not in str(error)
    assert 0 < opened < 300
    assert not unnamed
