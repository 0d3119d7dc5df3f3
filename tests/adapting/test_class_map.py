"""Classes said by index, by name, several for one, and a background class."""

from __future__ import annotations

import pytest

from torchgraft import AdaptError
from torchgraft.adapting import class_count, class_names, map_classes

OLD = ["tench, Tinca tinca", "beagle", "pug", "tabby"]


@pytest.mark.parametrize(
    ("said", "source", "target", "sources"),
    [
        ([3, None, 0], None, None, (3, None, 0)),
        ([[1, 2], "tabby"], OLD, None, ((1, 2), 3)),
        (range(1, 4), None, None, (1, 2, 3)),
        ({"dog": ["Beagle", 2], "fish": "tinca tinca"}, OLD, None, ((1, 2), 0)),
        ({"dog": range(1, 3)}, OLD, ["tabby", "dog", "emu"], (3, (1, 2), None)),
        ({"dog": range(1, 3)}, None, ["tabby", "dog"], (None, (1, 2))),
        ({"dog": [2, 2]}, None, None, (2,)),
        ("with-background", OLD, None, (None, 0, 1, 2, 3)),
        ("without-background", None, None, (1, 2, 3)),
        (None, OLD, ["pug", "emu"], (2, None)),
    ],
)
def test_said(said, source, target, sources):
    rows = map_classes(said, source=source, target=target, source_rows=4)
    assert rows is not None
    assert rows.sources == sources
    assert rows.source_rows == 4


def test_nothing_known():
    assert map_classes(None, source=OLD, target=None, source_rows=4) is None


@pytest.mark.parametrize(
    ("said", "source", "target", "message"),
    [
        ([4], None, None, "no old class 4, there are 4"),
        ([True], None, None, "can't come from True"),
        (["pug"], None, None, "names are not known"),
        (["wolf"], OLD, None, "none of the 4 old classes is called 'wolf'"),
        ({"dog": 1}, OLD, ["cat"], "which is none of the 1 labels"),
        ({"dog": []}, OLD, None, r"can't come from \[\]"),
        ("background", None, None, "can't be 'background'"),
        (3, None, None, "can't be 3"),
        ([], None, None, "can't be"),
        ([[1.5]], None, None, "can't come from 1.5"),
    ],
)
def test_refused(said, source, target, message):
    with pytest.raises(AdaptError, match=message):
        map_classes(said, source=source, target=target, source_rows=4)


def test_names_and_counts():
    assert class_names({"dog": 1, "cat": 2}, None) == ("dog", "cat")
    assert class_names({"dog": 1}, ["cat", "dog"]) == ["cat", "dog"]
    assert [class_count(said, 4) for said in ("with-background", "without-background", [1, 2], {"a": 1})] == [
        5, 3, 2, None,
    ]  # fmt: skip
