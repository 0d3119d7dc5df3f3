"""Made-up plans: the report room is tested without matching, adapting or files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from torchgraft.planning import Plan, SourceEntry, TargetEntry


@dataclass(frozen=True)
class SaidOp:
    """An op that only describes itself."""

    text: str
    name: str = "said"

    def describe(self) -> str:
        return self.text

    def apply(self, tensor: Any) -> Any:
        return tensor

    def invert(self, tensor: Any) -> Any:
        return tensor

    def to_json(self) -> dict[str, str]:
        return {"op": self.name}


def loaded(
    name: str, shape: tuple[int, ...], source: str | None = None, why: str = "same name"
) -> TargetEntry:
    return TargetEntry(
        name, shape, "float32", False, "body", "loaded", why,
        source=source or name, source_shape=shape, source_dtype="float32",
    )  # fmt: skip


def fresh(name: str, shape: tuple[int, ...], *, declared: bool, role: str = "head") -> TargetEntry:
    return TargetEntry(
        name,
        shape,
        "float32",
        False,
        role,
        "fresh",
        "class count differs: 1000 → 2",
        declared=declared,  # type: ignore[arg-type]
    )


def make_plan(*, declared: bool = True, blocks: int = 4) -> Plan:
    """A small network whose names differ from the checkpoint's, with a changed stem and head."""
    stem = TargetEntry(
        "stem.weight", (8, 1, 3, 3), "float32", False, "stem", "adapted", "structure: first convolution",
        source="conv1.weight", source_shape=(8, 3, 3, 3), source_dtype="float32",
        ops=(SaidOp("input channels 3→1, sum"),),
    )  # fmt: skip
    body = [
        loaded(f"blocks.{i}.{leaf}", shape, f"layer{i}.{leaf}", f"structure: block {i + 1} of {blocks}")
        for i in range(blocks)
        for leaf, shape in (("conv.weight", (8, 8, 3, 3)), ("norm.weight", (8,)), ("norm.bias", (8,)))
    ]
    head = [fresh("fc.weight", (2, 8), declared=declared), fresh("fc.bias", (2,), declared=declared)]
    targets = (stem, *body, *head)
    used = [
        SourceEntry(entry.source, entry.source_shape or (), "float32", "used", f"goes to {entry.name}")
        for entry in targets
        if entry.source is not None
    ]
    unused = [
        SourceEntry(
            f"classifier.{leaf}", shape, "float32", "unused", "its rows name 1000 classes, the model has 2"
        )
        for leaf, shape in (("weight", (1000, 8)), ("bias", (1000,)))
    ]
    return Plan("SmallNet", "weights.pth", "by structure, order and shape", targets, (*used, *unused))


@pytest.fixture
def plan() -> Plan:
    """The gate is open: the new head is declared."""
    return make_plan()


@pytest.fixture
def refused() -> Plan:
    """The gate is closed: the new head is not declared."""
    return make_plan(declared=False)


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[bold red]markup[/]",
    "\x1b[2J\x1b]0;owned\x07",
    "a\rb",
    "\u202egnp.exe",
    "{{ 7*7 }}",
    "{% raw %}",
    "&amp;",
)


@pytest.fixture
def hostile() -> Plan:
    """Names that try to steer a terminal or a browser, everywhere a file's text can stand."""
    targets = tuple(loaded(f"{name}.weight", (2, 2), source=name, why=f"why {name}") for name in HOSTILE)
    sources = tuple(SourceEntry(name, (2, 2), "float32", "unused", f"why {name}") for name in HOSTILE)
    text = " ".join(HOSTILE)
    return Plan(text, text, text, (*targets, fresh(f"{text}.x", (1,), declared=False)), sources, (text,))


@pytest.fixture(scope="session")
def plan_factory() -> Any:
    """`make_plan`, for tests that need many."""
    return make_plan
