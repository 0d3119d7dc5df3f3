import itertools
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchgraft.report.ranges import (
    brace,
    collapse,
    ranged,
    ranged_shapes,
    sibling_key,
    sibling_keys,
    skeleton,
)


def expand(text: str) -> list[str]:
    """All names that a ranged name can stand for: written apart from the code under test."""
    parts = re.split(r"\{([^{}]*)\}", text)
    choices = []
    for i, part in enumerate(parts):
        if i % 2 == 0:
            choices.append([part])
            continue
        numbers = []
        for item in part.split(","):
            low, dots, high = item.partition("...")
            numbers += [str(n) for n in range(int(low), int(high) + 1)] if dots else [item]
        choices.append(numbers)
    return ["".join(choice) for choice in itertools.product(*choices)]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([3], "3"),
        ([0, 1], "{0,1}"),
        ([0, 1, 2], "{0...2}"),
        ([0, 2, 4], "{0,2,4}"),
        ([0, 1, 2, 3, 8, 9], "{0...3,8,9}"),
        (list(range(0, 20, 2)), "{0,2,4,6,…,18}"),
    ],
)
def test_brace(numbers, text):
    assert brace(numbers) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a.0.w", "a.1.w", "a.2.w"], "a.{0...2}.w"),
        (["layer1.0.w", "layer1.1.w", "layer2.0.w"], "layer{1,2}.{0,1}.w"),
        (["only.3.w"], "only.3.w"),
        (["x.007", "x.007"], "x.007"),
        (["no numbers", "no numbers"], "no numbers"),
    ],
)
def test_ranged(names, text):
    assert ranged(names) == text


@given(
    st.sets(st.integers(0, 40), min_size=1, max_size=5), st.sets(st.integers(0, 5), min_size=1, max_size=5)
)
def test_a_full_grid_of_names_comes_back_from_its_range(outer, inner):
    names = [f"blocks{i}.{j}.conv1.weight" for i in sorted(outer) for j in sorted(inner)]
    assert sorted(expand(ranged(names))) == sorted(names)


@pytest.mark.parametrize(
    ("one", "other", "siblings"),
    [
        ("layer1.0.conv1.weight", "layer2.1.conv1.weight", True),
        ("layer1.0.conv1.weight", "layer1.0.conv2.weight", False),
        ("features.0.weight", "features.3.weight", True),
        ("features.0.weight", "features.3.bias", False),
        ("block1.w", "block2.w", False),
    ],
)
def test_siblings(one, other, siblings):
    assert (sibling_key(one) == sibling_key(other)) is siblings


def test_leading_zeros_are_no_numbers():
    assert skeleton("a.01.2") == "a.01.#"


def test_collapse_keeps_the_order_of_first_appearance():
    assert collapse([3, 1, 4, 1, 5, 9, 2, 6], lambda n: n % 2) == [(3, 1, 1, 5, 9), (4, 2, 6)]


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ([(8, 3, 3, 3)], "[8, 3, 3, 3]"),
        ([(16, 8), (32, 16)], "[16…32, 8…16]"),
        ([(8,), ()], "[8] []"),
        ([(1,), (1, 1), (1, 1, 1), ()], "[1] [1, 1] [1, 1, 1] …"),
    ],
)
def test_ranged_shapes(shapes, text):
    assert ranged_shapes(shapes) == text


def test_many_names_have_the_keys_that_each_has() -> None:
    draw = random.Random(0)
    for _ in range(300):
        names = ["".join(draw.choices("a.0129x#\u0663\u00b2", k=draw.randrange(9))) for _ in range(8)]
        assert list(sibling_keys(names)) == [sibling_key(name) for name in names]
    assert list(sibling_keys(["a.1.b", "a\n.2.b"])) == [sibling_key("a.1.b"), sibling_key("a\n.2.b")]


def test_numbers_are_whole_and_without_zeros_in_front() -> None:
    plain = re.compile(r"(?<!\d)(?:0|[1-9]\d{0,8})(?!\d)")
    draw = random.Random(0)
    for _ in range(3000):
        text = "".join(draw.choices("a.0019\u0663\u00b2x\n", k=draw.randrange(13)))
        assert skeleton(text) == plain.sub("#", text)


def test_ranges_of_many_names() -> None:
    assert ranged([f"a.{n}.007.b{n + 1}" for n in range(1000)]) == "a.{0...999}.007.b{1...1000}"
    assert ranged([f"\u00e4.{n}.007" for n in (1, 2, 3)]) == "\u00e4.{1...3}.007"
