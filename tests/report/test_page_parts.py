"""What the static pages are made of: words, remedies, distances, ranges, data for the script."""

import json
import math
import shlex
from dataclasses import replace

import pytest

from torchgraft.comparing import TensorDiff, ValueDiff
from torchgraft.planning import Plan, SourceEntry, TargetEntry
from torchgraft.report.field_words import field_words
from torchgraft.report.metadata_rows import metadata_rows
from torchgraft.report.page.data_block import data_block
from torchgraft.report.page.distances import distances
from torchgraft.report.page.explorer import Column, Plot, State, View, explorer_data
from torchgraft.report.page.graft import GraftSection
from torchgraft.report.page.remedies import remedies
from torchgraft.report.page.style_rules import StyleRules


def test_pytorchs_words(plan):
    targets, sources = field_words(plan)
    said = dict(zip([entry.name for entry in plan.targets], targets, strict=True))
    assert said["stem.weight"] == "MISMATCH"
    assert said["fc.weight"] == "MISSING"
    assert said["blocks.0.conv.weight"] == ""
    assert [word for word in sources if word] == ["UNEXPECTED", "UNEXPECTED"]


def test_a_partner_that_does_not_fit_is_a_mismatch_on_both_sides():
    head = TargetEntry(
        "fc.weight", (2, 8), "float32", False, "head", "fresh", "other classes",
        source="fc.weight", source_shape=(1000, 8), source_dtype="float32", declared=True,
    )  # fmt: skip
    unused = SourceEntry("fc.weight", (1000, 8), "float32", "unused", "other classes")
    assert field_words(Plan("m", "c", "how", (head,), (unused,))) == (["MISMATCH"], ["MISMATCH"])


def test_remedies_name_the_head(refused):
    (remedy,) = remedies(refused)
    assert remedy.shell == "--allow-fresh head"
    assert remedy.python == "tg.graft(model, checkpoint, allow_fresh='head')"


def test_remedies_pair_what_alone_has_a_shape():
    old, new = "old name; rm -rf /", "neck.weight"
    target = TargetEntry(new, (3, 5), "float32", False, "body", "fresh", "not in the checkpoint")
    other = replace(target, name="loaded.weight", status="loaded", source="loaded.weight")
    sources = (
        SourceEntry(old, (3, 5), "float32", "unused", "no place"),
        SourceEntry("taken", (3, 5), "float32", "used", "goes elsewhere"),
        SourceEntry("other", (9,), "float32", "unused", "no place"),
    )
    pair, declare = remedies(Plan("m", "c", "how", (other, target), sources))
    assert shlex.split(pair.shell) == ["--rename", f"{old}={new}"]
    assert eval(pair.python.partition("rename=")[2][:-1]) == {old: new}
    assert declare.shell == "--allow-fresh neck"
    twice = (*sources, replace(sources[0], name="as well"))
    assert len(remedies(Plan("m", "c", "how", (other, target), twice))) == 1


def moved(name: str, distance: float, norm: float, dtype: str = "float32") -> TensorDiff:
    values = ValueDiff(not distance, int(bool(distance)), 0, distance, 0.0, distance, norm)
    return TensorDiff(name, ((4,), (4,)), (dtype, dtype), ("", ""), values)


def test_distances_of_modules():
    found = distances(
        [
            moved("stem.weight", 0.0, 0.0),
            moved("blocks.0.a.weight", 3.0, 6.0),
            moved("blocks.0.a.bias", 4.0, 8.0),
            moved("blocks.1.a.weight", 1.0, 0.0),
            moved("blocks.1.a.bias", 0.0, 0.0),
            moved("steps", 1.0, 1.0, "int64"),
        ]
    )
    assert [(row.name, row.tensors, row.changed) for row in found] == [
        ("stem", 1, 0),
        ("blocks.0.a", 2, 2),
        ("blocks.1.a", 2, 1),
    ]
    assert [row.moved for row in found] == [0.0, math.hypot(3, 4) / math.hypot(6, 8), math.inf]


def test_distances_of_many_layers_stay_readable():
    found = distances([moved(f"layers.{i}.{part}.weight", 1.0, 2.0) for i in range(40) for part in "abcdef"])
    assert [row.name for row in found] == [f"layers.{i}" for i in range(40)]
    assert {row.moved for row in found} == {0.5}


def test_metadata_is_cut_where_nobody_would_read_on():
    nested: dict[str, object] = {}
    for _ in range(50):
        nested = {"in": nested, "n": 1}
    rows, more = metadata_rows(
        {"a": 1, "deep": nested, "list": list(range(1000)), "wide": {str(i): i for i in range(500)}}
    )
    assert not more
    assert ("a", "1") in rows
    assert ("wide", "… 440 more entries") in rows
    assert any(path == "list" and text.endswith("(1,000 in all)") for path, text in rows)
    assert max(path.count(".") for path, _ in rows) < 8
    assert metadata_rows({str(i): i for i in range(301)})[1]


def test_places_are_rules_of_one_sheet():
    rules = StyleRules()
    assert rules.place(left=12.5) == rules.place(left=12.5) != rules.place(left=12.6)
    rules.place(width=3, share=100)
    assert rules.text.splitlines() == [".p0{left:12.5%}", ".p1{left:12.6%}", ".p2{width:3%;--share:100%}"]
    with pytest.raises((AssertionError, ValueError)):
        rules.place(left=math.nan)
    with pytest.raises(ValueError, match="could not convert"):
        rules.place(left="1;background:url(x)")


@pytest.mark.parametrize(
    "text", ["</script>", "<!--<script>", "a&b", "\u2028", "\u202e", "\x00", "\ud800", "\U0001f4a9", '"\\']
)
def test_data_can_end_nothing_early(text):
    block = str(data_block({text: [text, 1, 2.5, math.nan, None, {"x": text}], "n": [1, 2]}))
    assert block.isascii()
    assert not set("<>&\x00") & set(block)
    read = json.loads(block)
    assert read["n"] == [1, 2]
    (key,) = set(read) - {"n"}
    assert read[key][0] == key == read[key][5]["x"]
    assert read[key][3] is None
    assert text in (key, *[c for c in ("\u2028", "\u202e", "\x00", "\ud800") if c == text])


def test_an_explorers_data_says_all_in_little():
    names = [f"layers.{i}.{leaf}" for i in range(100) for leaf in ("weight", "bias")] + [
        "\U0001f4a9a",
        "\U0001f4a9b",
    ]
    shapes = [(8, 8) if i % 2 == 0 else (8,) for i in range(len(names))]
    at = [0] * 100 + [1] * 102
    data = explorer_data(
        "m", names, shapes, [1] * len(names),
        [View("v", (State("a", "A"), State("b", "B")), at)],
        [Column("c", "text", ["same"] * len(names)), Column("n", "number", [1 / 3] * len(names))],
        plots=[Plot("p", {0: (0.0, 1.0, (0, 1, 1000))})],
    )  # fmt: skip
    decoded, before = [], ""
    for shared, rest in zip(data["names"][::2], data["names"][1::2], strict=True):
        before = before[:shared] + rest
        decoded.append(before)
    assert decoded == names
    assert [column["pool"] for column in data["columns"]] == [["same"], [0.33333]]
    assert data["plots"] == [{"title": "p", "at": {"0": [0.0, 1.0, "01z"]}}]
    labels = [group["label"] for group in data["groups"]]
    assert labels == [
        "layers.{0...49}.{weight, bias}",
        "layers.{50...99}.{weight, bias}",
        "\U0001f4a9a",
        "\U0001f4a9b",
    ]
    assert sorted(i for group in data["groups"] for i in group["items"]) == list(range(len(names)))


def test_what_else_a_tensor_could_have_been(plan, refused):
    data = GraftSection(refused).view()["data"]
    columns = {column["title"]: [column["pool"][at] for at in column["at"]] for column in data["columns"]}
    names = [entry.name for entry in refused.targets]
    others = dict(zip(names, columns["others of its shape"], strict=False))
    assert others["stem.weight"] == 0
    assert others["blocks.0.conv.weight"] == 3
    assert others["fc.weight"] is None
    fresh = TargetEntry("new.weight", (1000, 8), "float32", False, "head", "fresh", "not in the checkpoint")
    data = GraftSection(replace(plan, targets=(fresh, *plan.targets))).view()["data"]
    column = next(column for column in data["columns"] if column["title"] == "unused of its shape")
    assert column["pool"][column["at"][0]] == "classifier.weight"
