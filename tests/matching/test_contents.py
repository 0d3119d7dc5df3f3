"""Containers told apart by what they hold."""

from __future__ import annotations

import pytest

from torchgraft.errors import AmbiguousMatchError
from torchgraft.matching import match
from torchgraft.matching.pieces import pieces_of
from torchgraft.matching.structure_contents import contents, refined
from torchgraft.matching.structure_modules import modules_of

OURS = (
    "stem:4,3 mix.b7_1:4,4,1,1 mix.b7_2:4,4,1,7 mix.d7_1:4,4,1,1 mix.d7_2:4,4,7,1 mix.d7_3:5,4,1,7 head:2,5"
)
THEIRS = "in:4,3 m.br.1.0:4,4,1,1 m.br.1.1:4,4,7,1 m.br.1.2:5,4,1,7 m.br.0.0:4,4,1,1 m.br.0.1:4,4,1,7 out:2,5"


def test_branches_by_what_stands_beside(net, paired):
    assert paired(net(OURS), net(THEIRS)) == {
        "in.weight": ("stem.weight",),
        "m.br.0.0.weight": ("mix.b7_1.weight",),
        "m.br.0.1.weight": ("mix.b7_2.weight",),
        "m.br.1.0.weight": ("mix.d7_1.weight",),
        "m.br.1.1.weight": ("mix.d7_2.weight",),
        "m.br.1.2.weight": ("mix.d7_3.weight",),
        "out.weight": ("head.weight",),
    }


def test_branches_of_equal_contents_that_only_file_order_tells_apart_are_refused(net):
    ours = net("stem:4,3 m.left.0:4,4 m.left.1:4,4 m.right.0:4,4 m.right.1:4,4 head:2,4")
    theirs = net("in:4,3 n.up.0:4,4 n.up.1:4,4 n.down.0:4,4 n.down.1:4,4 out:2,4")
    with pytest.raises(AmbiguousMatchError):
        match(ours, theirs)


def test_parts_of_unequal_size_are_not_split(net):
    ours = modules_of(pieces_of(net("a.x:4,4 a.y:3,3 b.x:4,4 b.y:2,2")))
    theirs = modules_of(pieces_of(net("c.x:4,4 c.y:3,3 c.z:4,4 d.y:2,2")))
    same = [m for m in ours if m.main.shape == (4, 4)], [m for m in theirs if m.main.shape == (4, 4)]
    groups = refined(*same, contents(ours, theirs))
    assert [(len(mine), len(yours)) for mine, yours in groups] == [(2, 2)]
