"""Truncated and mutated files of every format: one `CheckpointError`, or read as it is declared.

A format is added by a line in `tests/damage/`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from damage.every_format import CHECKED, HONEST
from damage.honest import Honest
from damage.honest_folders import FOLDERS
from damage.mutations import mutated, scratched
from damage.trying import Tried, lay_down, try_to_read

CUTS = 60
OF_SEVERAL_FILES = (*FOLDERS, "ONNX external", "split GGUF", "Keras shards")


@cache
def honest(kind: str) -> Honest:
    return HONEST[kind]()


@contextmanager
def told(kind: str, turn: object) -> Iterator[None]:
    """Say which of so many files it was; pytest keeps that file in the test's folder."""
    try:
        yield
    except BaseException as error:
        raise AssertionError(f"{kind}, {turn}: {type(error).__name__}: {error}") from error


def read_honest(kind: str, folder: Path) -> Tried:
    file = honest(kind)
    lay_down(file.pack(file.parts), folder)
    tried = try_to_read(folder / file.opens)
    assert tried.values
    assert not tried.refused
    return tried


@pytest.mark.parametrize("kind", HONEST)
def test_truncation_is_refused_or_loses_nothing(kind: str, tmp_path: Path) -> None:
    before = read_honest(kind, tmp_path)
    file = honest(kind)
    whole = file.pack(file.parts)
    refused = 0
    for name, data in whole.items():
        for keep in sorted({0, 1, len(data) - 1, *range(7, len(data), 1 + len(data) // CUTS)}):
            lay_down(whole | {name: data[:keep]}, tmp_path)
            with told(kind, f"the first {keep} of {len(data)} bytes of {name}"):
                tried = try_to_read(tmp_path / file.opens)
                assert tried.values is None or tried.values.items() <= before.values.items()
                refused += tried.values is None or tried.refused > 0
    assert refused > CUTS / 4


@pytest.mark.parametrize("kind", HONEST)
def test_mutations_do_no_harm(kind: str, tmp_path: Path) -> None:
    mutate(kind, 300, 0, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HONEST)
def test_ten_thousand_mutations_do_no_harm(kind: str, tmp_path: Path) -> None:
    mutate(kind, 10_000, 1, tmp_path)


@pytest.mark.parametrize("kind", CHECKED)
def test_checksums_let_no_wrong_number_through(kind: str, tmp_path: Path) -> None:
    scratch(kind, 100, 0, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHECKED)
def test_checksums_let_no_wrong_number_through_ten_thousand_times(kind: str, tmp_path: Path) -> None:
    scratch(kind, 10_000, 1, tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in HONEST if kind not in OF_SEVERAL_FILES])
def test_far_files_are_read_alike(kind: str, tmp_path: Path) -> None:
    """What is checked here when a file is opened may be checked there when a tensor is read."""
    file = honest(kind)
    generator = random.Random(f"{kind} 2")
    for turn in range(60):
        lay_down(mutated(file, generator), tmp_path)
        with told(kind, f"mutation {turn} of seed 2, far away"):
            near, far = (try_to_read(tmp_path / file.opens, far=far) for far in (False, True))
            if near.values is not None:
                assert far.values is not None
                assert far.values.items() <= near.values.items()
                assert len(far.values) + far.refused == len(near.values) + near.refused


def mutate(kind: str, turns: int, seed: int, folder: Path) -> None:
    """Some of so many mutated files still open; the others are refused as they should be."""
    read_honest(kind, folder)
    file = honest(kind)
    generator = random.Random(f"{kind} {seed}")
    opened = 0
    for turn in range(turns):
        lay_down(mutated(file, generator), folder)
        with told(kind, f"mutation {turn} of seed {seed}"):
            opened += try_to_read(folder / file.opens).values is not None
    assert 0 < opened < turns


def scratch(kind: str, turns: int, seed: int, folder: Path) -> None:
    """One byte is another: `verify=True` refuses that, or gives what the file held before."""
    before = read_honest(kind, folder)
    file = honest(kind)
    generator = random.Random(f"{kind} {seed}")
    refused = 0
    for turn in range(turns):
        lay_down(scratched(file, generator), folder)
        with told(kind, f"scratch {turn} of seed {seed}"):
            tried = try_to_read(folder / file.opens, verify=True)
            refused += tried.values is None or tried.refused > 0
            if tried.values is not None:
                assert tried.values.items() <= before.values.items()
                assert len(tried.values) + tried.refused == len(before.values)
    assert refused > 0
