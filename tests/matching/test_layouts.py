"""Other libraries' layouts: undone where a name or a vote tells, refused where nothing does."""

from __future__ import annotations

import pytest
import torch

from torchgraft.errors import AmbiguousMatchError, MatchError
from torchgraft.matching import match
from torchgraft.matching.layouts import usual, voted
from torchgraft.matching.pieces import pieces_of
from torchgraft.tensors import Named

MARKED = [
    ("dense", "IO", (3, 8), (8, 3), lambda t: t.T),
    ("kernel", "HWIO", (3, 5, 4, 8), (8, 4, 3, 5), lambda t: t.permute(3, 2, 0, 1)),
    ("one dimension", "WIO", (3, 4, 8), (8, 4, 3), lambda t: t.permute(2, 1, 0)),
    ("three", "DHWIO", (2, 3, 5, 4, 8), (8, 4, 2, 3, 5), lambda t: t.permute(4, 3, 0, 1, 2)),
    ("outputs first", "OHWI", (8, 3, 5, 4), (8, 4, 3, 5), lambda t: t.permute(0, 3, 1, 2)),
    ("PyTorch's own", "OIHW", (8, 4, 3, 5), (8, 4, 3, 5), lambda t: t),
    ("transposed convolution", "HWOI", (3, 5, 8, 4), (4, 8, 3, 5), lambda t: t.permute(3, 2, 0, 1)),
    ("depthwise", "HWIM", (3, 5, 4, 2), (8, 1, 3, 5), lambda t: t.permute(2, 3, 0, 1).reshape(8, 1, 3, 5)),
    ("heads inwards", "IND", (8, 2, 4), (8, 8), lambda t: t.reshape(8, 8).T),
    ("heads outwards", "NDO", (2, 4, 6), (6, 8), lambda t: t.reshape(8, 6).T),
    ("heads of a bias", "ND", (2, 4), (8,), lambda t: t.reshape(8)),
]


def _applied(piece, tensor):
    for op in piece.ops:
        tensor = op.apply(tensor)
    return tensor


@pytest.mark.parametrize(
    ("layout", "given", "shape", "by_hand"), [c[1:] for c in MARKED], ids=[c[0] for c in MARKED]
)
def test_marked(layout, given, shape, by_hand):
    (piece,) = usual(pieces_of([Named("a.weight", given, layout=layout)]))
    assert piece.shape == shape
    tensor = torch.arange(float(torch.Size(given).numel())).reshape(given)
    assert torch.equal(_applied(piece, tensor), by_hand(tensor))


def test_kernels_with_equal_channels_are_turned_by_their_name(net, paired):
    """(3, 3, 8, 8) fits nothing in PyTorch but (8, 8, 3, 3), and (8, 8) fits both ways."""
    ours = net("a.kernel:3,3,8,8 b.kernel:8,8 c.kernel:8,2")
    (kernel, square, _) = usual(pieces_of(ours))
    tensor = torch.rand(3, 3, 8, 8)
    assert torch.equal(_applied(kernel, tensor), tensor.permute(3, 2, 0, 1))
    dense = torch.rand(8, 8)
    assert torch.equal(_applied(square, dense), dense.T)
    assert paired(ours, net("x:8,8,3,3 y:8,8 z:2,8"))["y.weight"] == ("b.kernel",)


def test_dense_weights_of_biases_as_long_as_their_columns_are_turned_squares_too(net):
    found = usual(pieces_of(net("x:3,8 x.bias:8 y:8,8 y.bias:8 z:8,2 z.bias:2")))
    assert [piece.shape for piece in found if piece.leaf == "weight"] == [(8, 3), (8, 8), (2, 8)]
    assert all(bool(piece.ops) == (piece.leaf == "weight") for piece in found)


@pytest.mark.parametrize(
    "text", ["x:8,3 x.bias:8 y:8,8 y.bias:8", "x:3,8 x.bias:8 y:2,8 y.bias:2", "y:8,8 y.bias:8"]
)
def test_dense_weights_stay_where_biases_do_not_all_vote(net, text):
    assert not any(piece.ops for piece in usual(pieces_of(net(text))))


def test_w_is_turned_if_the_shapes_vote_for_it(net):
    ours, square = "a.w:3,8 b.w:8,8", torch.rand(8, 8)
    turned = voted(pieces_of(net(ours)), pieces_of(net("x:8,3 y:8,8")))
    assert torch.equal(_applied(turned[1], square), square.T)
    kept = voted(pieces_of(net(ours)), pieces_of(net("x:3,8 y:8,8")))
    assert torch.equal(_applied(kept[1], square), square)


@pytest.mark.parametrize("leaf", ["w", "weights"])
def test_square_kernels_called_w_are_refused_and_the_hint_settles_it(net, leaf):
    ours = [Named(f"l{i}.{leaf}", (8, 8)) for i in range(3)]
    theirs = net("b0:8,8 b1:8,8 b2:8,8")
    with pytest.raises(AmbiguousMatchError, match="square") as caught:
        match(ours, theirs)
    hint = caught.value.hint or ""
    rule = eval(hint.split("rename=")[1].split("]")[0] + "]")
    pairs = match(ours, theirs, rename=rule).pairs
    assert len(pairs) == 3
    assert all([op.describe() for op in pair.ops] == ["transposed"] for pair in pairs)


def test_layouts_says_it_and_an_unknown_name_is_an_error(net):
    ours, theirs = net("a:8,8 c:4,8"), net("x:8,8 y:4,8")
    (first, _) = match(ours, theirs, layouts={"a.weight": "IO"}).pairs
    assert [op.describe() for op in first.ops] == ["transposed"]
    with pytest.raises(MatchError, match="not in the checkpoint") as caught:
        match(ours, theirs, layouts={"aa.weight": "IO"})
    assert "a.weight" in (caught.value.hint or "")
