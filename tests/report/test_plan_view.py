"""Golden output: what people read, at two widths, without colour."""

import dataclasses
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from torchgraft.planning import Plan
from torchgraft.report.plan_rows import source_rows, target_rows
from torchgraft.report.terminal import plan_view


def seen(renderable: object, width: int, *, colour: bool = False) -> str:
    stream = io.StringIO()
    Console(
        file=stream, width=width, force_terminal=colour, color_system="truecolor" if colour else None
    ).print(renderable)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").split("\n"))


def golden(name: str) -> str:
    return (Path(__file__).parent / "golden" / name).read_text("utf-8").rstrip("\n")


def test_narrow(refused):
    assert seen(plan_view(refused), 80) == golden("plan_narrow.txt")


def test_wide(plan):
    assert seen(plan_view(plan), 150) == golden("plan_wide.txt")


def test_all_shows_every_tensor_on_a_line_of_its_own(plan):
    text = seen(plan_view(plan, all=True), 160)
    for entry in plan.targets:
        assert re.search(rf"^\S \w+ +{re.escape(entry.name)} ", text, re.MULTILINE)


def test_names_alike_are_said_once(plan):
    same = [dataclasses.replace(entry, source=entry.name, why="same name") for entry in plan.targets[1:-2]]
    text = seen(plan_view(dataclasses.replace(plan, targets=tuple(same))), 150)
    assert "✓ without a remark: same name" in text
    assert text.count("same name") == 1
    assert " from " not in text.split("what and why")[0].split("elements come")[1].split("\n", 1)[1]


def test_what_is_done_is_said_once(plan):
    adapted = next(entry for entry in plan.targets if entry.ops)
    steps = adapted.ops[0].describe()
    for why, shown in ((steps, steps), (f"{steps}; float16 → float32", f"{steps} · float16 → float32")):
        entry = dataclasses.replace(adapted, ops=adapted.ops[:1], why=why)
        text = seen(plan_view(dataclasses.replace(plan, targets=(entry,))), 200)
        assert text.count(steps) == 1
        assert shown in text


def test_hostile_names_steer_nothing(hostile):
    for view in (plan_view(hostile), plan_view(hostile, all=True)):
        for width in (60, 150):
            text = seen(view, width)
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    wide = seen(plan_view(hostile, all=True), 400)
    assert "[bold red]markup[/]" in wide  # shown, not obeyed
    assert r"\x1b[2J" in wide


def test_colour_is_never_the_only_sign(refused):
    plain = seen(plan_view(refused), 120)
    coloured = seen(plan_view(refused), 120, colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == plain.split()


@pytest.mark.parametrize("coverage", ["none", "all"])
def test_a_plan_of_one_kind_only(plan, coverage):
    entries = plan.targets[-2:] if coverage == "none" else plan.targets[1:3]
    entries = tuple(dataclasses.replace(entry, declared=False) for entry in entries)
    text = seen(plan_view(dataclasses.replace(plan, targets=entries)), 100)
    assert ("Nothing matched" in text) == (coverage == "none")
    assert ("0 %" if coverage == "none" else "100 %") in text


def test_an_empty_plan(plan):
    assert "0 tensors" in seen(plan_view(Plan("Empty", "x.pth", "names", (), ())), 100)


@given(st.data())
def test_no_tensor_is_lost_in_the_rows(plan_factory, data):
    plan = plan_factory(declared=data.draw(st.booleans()), blocks=data.draw(st.integers(0, 12)))
    keep = data.draw(st.lists(st.booleans(), min_size=len(plan.targets), max_size=len(plan.targets)))
    plan = dataclasses.replace(
        plan, targets=tuple(entry for entry, kept in zip(plan.targets, keep, strict=True) if kept)
    )
    rows = target_rows(plan)
    assert sum(row.tensors for row in rows) == len(plan.targets)
    assert sum(row.tensors for row in source_rows(plan)) == plan.counts["unused"]
    keys = [row.status.key for row in rows]
    assert "undeclared" not in keys[keys.count("undeclared") :]
