"""Rename rules: what each spelling does, and what is refused."""

from __future__ import annotations

import re

import pytest

from torchgraft.errors import MatchError
from torchgraft.matching.renames import apply_renames

CASES = [
    ("nothing", None, "a.b", "a.b"),
    ("first segment", {"a": "x"}, "a.b", "x.b"),
    ("segment in the middle", {"branch_a": "left"}, "blocks.0.branch_a.weight", "blocks.0.left.weight"),
    ("whole segments only", {"layer": "stage"}, "layer1.layer.weight", "layer1.stage.weight"),
    ("several segments", {"a.b": "c.d.e"}, "x.a.b.weight", "x.c.d.e.weight"),
    ("trailing dot takes a prefix off", {"teacher.": ""}, "teacher.fc.weight", "fc.weight"),
    ("empty puts a prefix on", {"": "backbone."}, "fc.weight", "backbone.fc.weight"),
    ("text rule", ["a=x"], "a.b", "x.b"),
    ("text rule that removes", ["teacher.="], "teacher.b", "b"),
    ("pairs", [("a", "x"), ("b", "y")], "a.b", "x.y"),
    ("neighbours act at once", {"a": "b", "b": "a"}, "a.b", "b.a"),
    ("longest first is the user's order", [("a.b", "x"), ("b", "y")], "a.b.b", "x.y"),
    ("compiled pattern", {re.compile(r"layer(\d)"): r"stage.\1"}, "layer1.0", "stage.1.0"),
    ("pattern as text", ["re:layer(\\d)=stage.\\1"], "layer1.0", "stage.1.0"),
    ("pattern with an equals sign", ["re:a(?=\\.b)=x"], "a.b", "x.b"),
    ("patterns act in turn", ["re:a=b", "re:b=c"], "a", "c"),
    ("plain after a pattern", [("re:^", "p."), ("p", "q")], "a", "q.a"),
]


@pytest.mark.parametrize(
    ("rename", "name", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_a_rule_gives(rename, name, expected):
    names, notes = apply_renames([name], rename)
    assert names == [expected]
    assert notes == []


@pytest.mark.parametrize("rename", [{"fcc": "x"}, ["re:fcc=x"]])
def test_a_rule_that_changes_nothing_is_noted(rename):
    names, notes = apply_renames(["fc.weight"], rename)
    assert names == ["fc.weight"]
    assert len(notes) == 1
    assert "fcc" in notes[0]


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (["no equals sign"], "can't be read"),
        ([("a", "b", "c")], "can't be read"),
        ({"a": 3}, "can't be read"),
        (["re:(=x"], "not a regular expression"),
        ([("re:(a)", r"\2")], "can't be applied"),
        ({"a": "b"}, "the same name"),
    ],
)
def test_refused(rename, said):
    with pytest.raises(MatchError, match=said):
        apply_renames(["a.weight", "b.weight"], rename)
