"""GGUF models in several files: written by the gguf package, and sets that don't fit together."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, quants

import torchgraft as tg
from torchgraft.errors import CheckpointError, CorruptCheckpointError
from torchgraft.formats import read_container

COUNT = 7


def split(
    folder: Path, name: str = "model", *, most: int = 3, first_empty: bool = False, start: int = 0
) -> list[Path]:
    """A model of seven tensors in files of at most three."""
    folder.mkdir(exist_ok=True)
    writer = GGUFWriter(
        folder / f"{name}.gguf", "llama", split_max_tensors=most, small_first_shard=first_empty
    )
    writer.add_uint32("llama.block_count", 4)
    for number in range(start, start + COUNT):
        values = np.full((4, 32), number, np.float32)
        if number == start + 2:
            packed = quants.quantize(values, GGMLQuantizationType.Q8_0)
            writer.add_tensor(f"t{number}", packed, raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(f"t{number}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob(f"{name}-*.gguf"))


def values_of(tree: Any) -> dict[str, int]:
    return {name: round(float(ref[1, 5])) for name, ref in tree.items()}


@pytest.mark.parametrize("first_empty", [False, True])
def test_any_part_opens_all_of_them(first_empty: bool, tmp_path: Path) -> None:
    parts = split(tmp_path / "x", first_empty=first_empty)
    assert len(parts) == (4 if first_empty else 3)
    theirs = [tensor.name for part in parts for tensor in GGUFReader(part).tensors]
    for path in (*parts, tmp_path / "x"):
        container = read_container(path)
        assert (container.format, container.name, container.path) == ("gguf", str(path), path)
        assert list(container.tree) == theirs  # type: ignore[call-overload]
        assert values_of(container.tree) == {f"t{number}": number for number in range(COUNT)}
        assert container.metadata["llama.block_count"] == 4
        assert container.metadata["split.no"] == 0
        assert container.metadata["stored as (read as float32)"] == {"t2": "Q8_0"}


def test_a_model_in_one_file_is_no_set(tmp_path: Path) -> None:
    (part,) = split(tmp_path / "x", most=100) or [tmp_path / "x" / "model.gguf"]
    assert len(read_container(part).tree) == COUNT  # type: ignore[arg-type]


def test_its_memory_can_be_given_back(tmp_path: Path) -> None:
    checkpoint = tg.open(split(tmp_path / "x")[1])
    before = values_of(checkpoint)
    checkpoint.forget()
    assert values_of(checkpoint) == before


def test_missing_parts_are_named(tmp_path: Path) -> None:
    parts = split(tmp_path / "x", most=1)
    assert len(parts) == COUNT
    for part in (parts[1], parts[4]):
        part.unlink()
    for path in (parts[0], parts[5], tmp_path / "x"):
        with pytest.raises(CorruptCheckpointError) as caught:
            read_container(path)
        assert "in 7 files" in str(caught.value)
        assert "model-00002-of-00007.gguf, model-00005-of-00007.gguf" in str(caught.value)
        assert caught.value.hint


def test_two_sets_in_a_folder(tmp_path: Path) -> None:
    split(tmp_path / "x", "a")
    parts = split(tmp_path / "x", "b", start=10)
    assert values_of(read_container(parts[2]).tree) == {f"t{number}": number for number in range(10, 17)}
    with pytest.raises(CheckpointError, match="holds 2 checkpoints"):
        read_container(tmp_path / "x")


def renamed(parts: list[Path]) -> Path:
    return parts[0].rename(parts[0].with_name("first.gguf"))


def swapped(parts: list[Path]) -> Path:
    spare = parts[0].with_name("spare")
    parts[0].rename(spare)
    parts[1].rename(parts[0])
    spare.rename(parts[1])
    return parts[2]


def of_another_number(parts: list[Path]) -> Path:
    return parts[0].rename(parts[0].with_name("model-00001-of-00009.gguf"))


def of_another_model(parts: list[Path]) -> Path:
    others = split(parts[0].parent.parent / "other", most=2, start=20)
    shutil.copy(others[1], parts[1])
    return parts[0]


def with_the_same_tensors(parts: list[Path]) -> Path:
    whole = parts[1].read_bytes()
    parts[1].write_bytes(whole.replace(b"t3", b"t0"))
    return parts[0]


def no_model_at_all(parts: list[Path]) -> Path:
    np.save(parts[1].with_suffix(".npy"), np.ones(3))
    parts[1].with_suffix(".npy").rename(parts[1])
    return parts[0]


def with_key(number: int, key: str, value: int) -> Callable[[list[Path]], Path]:
    """Writes another value into a part's metadata."""

    def write(parts: list[Path]) -> Path:
        whole = bytearray(parts[number].read_bytes())
        place = whole.index(key.encode()) + len(key)
        (kind,) = struct.unpack_from("<I", whole, place)
        layout = {2: "<H", 3: "<h", 4: "<I", 5: "<i"}[kind]
        struct.pack_into(layout, whole, place + 4, value)
        parts[number].write_bytes(whole)
        return parts[0]

    return write


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (renamed, CheckpointError, r"first\.gguf: .*its name doesn't tell"),
        (swapped, CorruptCheckpointError, r"model-00001-of-00003\.gguf: it is not part 1 of the 3"),
        (
            of_another_number,
            CorruptCheckpointError,
            r"by its name it is part 1 of 9, by its metadata part 1 of 3",
        ),
        (of_another_model, CorruptCheckpointError, r"model-00002-of-00003\.gguf: it is not part 2 of the 3 "),
        (
            with_the_same_tensors,
            CorruptCheckpointError,
            r"model-00002-of-00003\.gguf: t0: .*another part too",
        ),
        (no_model_at_all, CorruptCheckpointError, r"model-00002-of-00003\.gguf: it is not part 2.*missing"),
        (with_key(0, "split.count", 4), CorruptCheckpointError, r"part 1 of 3, by its metadata part 1 of 4"),
        (with_key(0, "split.no", 2), CorruptCheckpointError, r"part 1 of 3, by its metadata part 3 of 3"),
        (
            with_key(1, "split.no", 2),
            CorruptCheckpointError,
            r"00002-of-00003\.gguf: it is not part 2 of the 3",
        ),
        (
            with_key(2, "split.count", 2),
            CorruptCheckpointError,
            r"00003-of-00003\.gguf: it is not part 3 of the 3",
        ),
        (
            with_key(1, "split.tensors.count", 6),
            CorruptCheckpointError,
            r"00002-of-00003\.gguf: it is not part 2",
        ),
    ],
)
def test_sets_that_do_not_fit(
    change: Callable[[list[Path]], Path], error: type[CheckpointError], message: str, tmp_path: Path
) -> None:
    path = change(split(tmp_path / "x"))
    with pytest.raises(error, match=message) as caught:
        read_container(path)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.hint or re.search("another part too", str(caught.value))


def test_fewer_tensors_than_announced(tmp_path: Path) -> None:
    parts = split(tmp_path / "x")
    for number in range(3):
        with_key(number, "split.tensors.count", 9)(parts)
    with pytest.raises(
        CorruptCheckpointError, match=r"3 files hold 7 tensors, and split\.tensors\.count is 9"
    ):
        read_container(parts[0])
