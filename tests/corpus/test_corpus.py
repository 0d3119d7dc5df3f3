"""Hundreds of files that are bad, or odd but legitimate, each opened in a process of its own within limits.

What the files are is in the modules beside; `building.py` writes them, `judging.py` opens them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="limits and measurements are Linux's"),
    pytest.mark.timeout(1200),  # what hangs is ended by `judging.py`
]

CPU = 2.0
"""Seconds of the processor, not of the clock: other work on the machine doesn't count."""

MEMORY = 256 << 20
"""Bytes beyond those of files."""

FAMILIES = {
    "zip_pickles": (0, 25),
    "zip_lies": (103, 0),
    "older_torch_files": (40, 9),
    "plain_pickles": (32, 14),
    "scripts_and_exports": (25, 8),
    "safetensors_files": (35, 6),
    "shard_folders": (29, 8),
    "distributed_folders": (46, 5),
    "numpy_files": (40, 12),
    "hdf5_files": (37, 2),
    "keras_files": (15, 6),
    "onnx_files": (45, 8),
    "gguf_files": (36, 7),
    "special_files": (21, 3),
}
"""How many bad and how many odd items each module has, so that none is lost unseen."""

Told = dict[str, Any]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Told, Told]]:
    """Each item, and what happened to it."""
    root = tmp_path_factory.mktemp("corpus")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answers = []
    for script in ("building.py", "judging.py"):
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name(script), root], env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        answers.append(done.stdout)
    results = {result["name"]: result for result in map(json.loads, answers[-1].splitlines())}
    if report := os.environ.get("CORPUS_REPORT"):
        Path(report).write_text(answers[-1])
    return [(item, results[item["name"]]) for item in json.loads((root / "items.json").read_text())]


def faults(item: Told, result: Told) -> list[str]:
    """What is not as it should be."""
    outcome, message = result["outcome"], result.get("message", "")
    found = [f"took {result['cpu']:.1f} seconds of the processor"] if result.get("cpu", 0) > CPU else []
    if result["memory"] > MEMORY:
        found.append(f"took {result['memory'] >> 20} MiB")
    if Path(item["canary"]).exists():
        found.append("something in it was run")
    found += [f"reached out: {what}" for what in result.get("trespasses", ())]
    if outcome != ("refused" if item["kind"] == "Bad" else "opened"):
        return [*found, f"{outcome}: {message}"]
    if item["kind"] == "Bad":
        told = [item["path"], *item["told"]]
        found += [f"the message lacks {part!r}: {message}" for part in told if part not in message]
        if not result["hint"] or len(message) > 4000:
            found.append(f"the message has no next step, or no end: {message}")
    elif item["kind"] == "Odd":
        read, wanted = result["tensors"], item["wanted"]
        found += result["slices"]
        found += [
            f"{name} is {read.get(name)} instead of {wanted.get(name)}"
            for name in [*wanted, *(read.keys() - wanted.keys())]
            if read.get(name) != wanted.get(name)
        ]
    else:
        if not any(item["shown"] in name for name in result["classes"]):
            found.append(f"what would run is not shown, but {result['classes']}")
        if result["tensors"] != item["wanted"]:
            found.append(f"its tensors are {result['tensors']}")
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_bad_ones_are_refused_and_odd_ones_read(family: str, corpus: list[tuple[Told, Told]]) -> None:
    here = [(item, result) for item, result in corpus if item["family"] == family]
    found = {item["name"]: faults(item, result) for item, result in here}
    assert not {name: what for name, what in found.items() if what}
    kinds = Counter("odd" if item["kind"] == "Odd" else "bad" for item, _ in here)
    assert (kinds["bad"], kinds["odd"]) == FAMILIES[family]


def test_the_corpus_is_whole(corpus: list[tuple[Told, Told]]) -> None:
    kinds = Counter(item["kind"] for item, _ in corpus)
    assert kinds["Bad"] + kinds["Inert"] >= 200
    assert kinds["Odd"] >= 60
    assert len({item["name"] for item, _ in corpus}) == len(corpus)
    assert {item["family"] for item, _ in corpus} == FAMILIES.keys()
