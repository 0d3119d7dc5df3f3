"""One side holds the other as a part, or several times, under other names."""

from __future__ import annotations

import pytest

from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching import match

NET = "stem:8,3,3,3 l.0:8,8,3,3 l.1:8,8,3,3 fc:5,8"
OTHER = "in:8,3,3,3 b.3:8,8,3,3 b.7:8,8,3,3 out:5,8"
TRUTH = {"in": "stem", "b.3": "l.0", "b.7": "l.1", "out": "fc"}


def under(prefix, text):
    return " ".join(prefix + word for word in text.split())


def spelled(prefix, to=""):
    return {f"{to}{target}.weight": (f"{prefix}{source}.weight",) for target, source in TRUTH.items()}


def test_the_backbone_of_a_detector(net, paired):
    neck = " ".join(f"neck.{i}:16,{i + 20}" for i in range(6))
    assert paired(net(f"{neck} {under('body.', NET)}"), net(OTHER)) == spelled("body.")
    assert paired(net(NET), net(f"{neck} {under('body.', OTHER)}")) == spelled("", "body.")


@pytest.mark.parametrize("names", [("left.", "right."), ("one.", "two.")])
def test_two_that_fit_are_refused_and_either_hint_settles_it(net, paired, names):
    ours = net(" ".join(under(name, NET) for name in names))
    with pytest.raises(AmbiguousMatchError) as caught:
        match(ours, net(OTHER))
    for name in names:
        assert f'rename={{"{name}": ""}}' in (caught.value.hint or "")
        assert paired(ours, net(OTHER), rename={name: ""}) == spelled(name)


def test_a_dinos_teacher_is_taken_and_the_student_noted(net):
    ours = net(f"{under('student.', NET)} {under('teacher.', NET)}")
    found = match(ours, net(OTHER))
    assert {pair.target: pair.sources for pair in found.pairs} == spelled("teacher.")
    assert any("student." in note for note in found.notes)


def test_a_siamese_model_gets_it_twice(net):
    found = match(net(NET), net(f"{under('a.', OTHER)} {under('c.', OTHER)}"))
    assert {pair.target: pair.sources for pair in found.pairs} == spelled("", "a.") | spelled("", "c.")


def test_of_a_network_at_the_top_and_a_copy_in_a_branch_the_top_is_taken(net):
    """With a doubt where no word says which is the copy."""
    for text, doubtful in ((f"{NET} {under('ema.', NET)}", False), (f"{under('copy.', NET)} {NET}", True)):
        found = match(net(text), net(OTHER))
        assert {pair.target: pair.sources for pair in found.pairs} == spelled("")
        assert bool(found.doubts) == doubtful
        assert found.notes
