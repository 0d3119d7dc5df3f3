"""Which layer a norm belongs to, as far as names and sizes tell."""

from __future__ import annotations

import pytest

from torchgraft.matching.pieces import pieces_of
from torchgraft.matching.structure_kin import Siblings
from torchgraft.matching.structure_modules import modules_of

CASES = [
    (
        "by number",
        "l.conv1:8,4,3,3 l.bn1:8 l.conv2:6,8,3,3 l.bn2:6",
        {"l.bn1": "l.conv1", "l.bn2": "l.conv2"},
    ),
    (
        "alone with it",
        "a.c.conv:8,4 a.c.norm:8 a.d.conv:6,8 a.d.norm:6",
        {"a.c.norm": "a.c.conv", "a.d.norm": "a.d.conv"},
    ),
    ("the place before", "f.0:8,4 f.1:8 f.3:6,8 f.4:6", {"f.1": "f.0", "f.4": "f.3"}),
    (
        "DenseNet: a norm before its layer",
        "d.norm1:4 d.conv1:8,4 d.norm2:8 d.conv2:6,8",
        {"d.norm1": None, "d.norm2": None},
    ),
    (
        "nn.TransformerEncoderLayer: norm1 is not linear1's",
        "t.linear1:16,8 t.linear2:8,16 t.norm1:8 t.norm2:8 t.out:8,8",
        {"t.norm1": None, "t.norm2": None},
    ),
    (
        "numbers of unequal runs",
        "l.conv1:8,4 l.conv2:8,8 l.conv3:6,8 l.bn1:8 l.bn2:8",
        {"l.bn1": None, "l.bn2": None},
    ),
]


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_after(net, text, expected):
    modules = modules_of(pieces_of(net(text)))
    siblings = Siblings(modules)
    found = {m.name: siblings.after(m) for m in modules if not m.is_matrix}
    assert {name: owner and owner.name for name, owner in found.items()} == expected


def test_square_layers_follow_the_vote_of_the_others(net):
    after = "l.0.conv:8,4 l.0.bn:8 l.1.conv:8,8 l.1.bn:8"
    before = "l.0.bn:4 l.0.conv:8,4 l.1.bn:8 l.1.conv:8,8"
    for text, owner in ((after, "l.1.conv"), (before, None)):
        modules = {m.name: m for m in modules_of(pieces_of(net(text)))}
        found = Siblings(list(modules.values())).after(modules["l.1.bn"])
        assert (found and found.name) == owner
