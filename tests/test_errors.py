"""One tree of errors: it is the one its file draws, and each says what, where and what next."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from torchgraft import errors
from torchgraft.errors import TorchgraftError

CLASSES = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}


def drawn() -> dict[str, tuple[str, str]]:
    """Class → (its parent, what the drawing says of it), read off the indentation."""
    found: dict[str, tuple[str, str]] = {"TorchgraftError": ("Exception", "")}
    above = ["TorchgraftError"]
    for line in (errors.__doc__ or "").splitlines():
        match = re.fullmatch(r"([│ ├└─]+?)(\w+Error) +(.+)", line)
        if match:
            depth = len(match[1]) // 4
            del above[depth:]
            found[match[2]] = (above[-1], match[3])
            above.append(match[2])
    return found


def test_the_tree_that_is_drawn_is_the_tree_that_is():
    real = {name: value.__bases__[0].__name__ for name, value in CLASSES.items()}
    assert {name: parent for name, (parent, _) in drawn().items()} == real
    second = {name: value.__bases__[1:] for name, value in CLASSES.items() if len(value.__bases__) > 1}
    assert second == {"VerificationError": (AssertionError,)}  # as torch.testing raises


def test_the_drawing_is_in_the_order_of_the_file():
    assert list(drawn()) == list(CLASSES)
    assert sorted(errors.__all__) == errors.__all__ == sorted(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_each_has_a_docstring_of_its_own(name):
    assert vars(CLASSES[name])["__doc__"]  # not the parent's: vars() does not inherit


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("where", "hint", "text"),
    [
        (None, None, "it broke"),
        ("a.pth", None, "a.pth: it broke"),
        (None, "mend it", "it broke\n  → mend it"),
        ("a.pth", "mend it", "a.pth: it broke\n  → mend it"),
        ("", "", "it broke"),
    ],
)
def test_it_says_where_what_and_what_next(name, where, hint, text):
    error = CLASSES[name]("it broke", where=where, hint=hint)
    usual = None if hint else CLASSES[name].usual_hint
    assert str(error) == (f"{text}\n  → {usual}" if usual else text)
    assert (error.what, error.where, error.hint) == ("it broke", where, hint or usual)
    assert isinstance(error, TorchgraftError)


def test_a_file_that_can_not_be_used_always_has_a_next_step():
    kinds = ["CorruptCheckpointError", "NoWeightsError", "UnknownFormatError", "UnsafeCheckpointError"]
    assert [name for name, kind in CLASSES.items() if kind.usual_hint] == sorted(
        kinds, key=list(CLASSES).index
    )


def test_it_can_be_printed_whatever_a_file_calls_its_tensors():
    error = TorchgraftError("it broke", where="a.pth: \ud800")
    assert str(error).encode() == b"a.pth: \\ud800: it broke"


@pytest.mark.parametrize("name", CLASSES)
def test_it_survives_the_way_back_from_another_process(name):
    error = CLASSES[name]("it broke", where="a.pth", hint="mend it")
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))


def test_what_is_said_second_must_be_named():
    with pytest.raises(TypeError):
        TorchgraftError("it broke", "a.pth")  # type: ignore[misc]
