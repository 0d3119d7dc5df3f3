"""Tensors in pieces: the same as the whole for every index, and pieces that don't make a whole."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
import torch

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.chunked_tensor import Chunk, TilingCheck, chunked_tensor
from torchgraft.tensors import Index, TensorRef

Box = tuple[tuple[int, ...], tuple[int, ...]]


class Pieces:
    """Pieces of a tensor that note which of them are read, and which part."""

    def __init__(self, whole: torch.Tensor, boxes: list[Box]) -> None:
        self.read: dict[int, list[Index]] = {}
        self.chunks = [
            Chunk(offsets, sizes, 1 << 60, f"piece {n}", self._opener(n, whole, offsets, sizes))
            for n, (offsets, sizes) in enumerate(boxes)
        ]

    def _opener(self, number: int, whole: torch.Tensor, offsets: tuple[int, ...], sizes: tuple[int, ...]):
        piece = whole[
            tuple(slice(start, start + size) for start, size in zip(offsets, sizes, strict=True))
        ].clone()

        def fetch(index: Index) -> torch.Tensor:
            self.read.setdefault(number, []).append(index)
            return piece[index]

        return lambda: TensorRef("", tuple(piece.shape), str(piece.dtype)[6:], fetch=fetch)

    def ref(self, shape: tuple[int, ...], dtype: str = "float32") -> TensorRef:
        return chunked_tensor("x", dtype, shape, self.chunks, TilingCheck(), "file: x")


def grid(*cuts: list[int]) -> list[Box]:
    """Boxes between cuts along each dimension."""
    spans = [[(a, b - a) for a, b in itertools.pairwise(along)] for along in cuts]
    return [(tuple(a for a, _ in box), tuple(s for _, s in box)) for box in itertools.product(*spans)]


PINWHEEL: list[Box] = [
    ((0, 0), (1, 2)),
    ((0, 2), (2, 1)),
    ((2, 1), (1, 2)),
    ((1, 0), (2, 1)),
    ((1, 1), (1, 1)),
]
TILINGS: list[tuple[tuple[int, ...], list[Box]]] = [
    ((7, 5), grid([0, 2, 4, 7], [0, 5])),
    ((7, 5), grid([0, 7], [0, 1, 5])),
    ((7, 5), grid([0, 3, 7], [0, 2, 5])),
    ((4, 3, 6), grid([0, 1, 4], [0, 3], [0, 2, 4, 6])),
    ((9,), grid([0, 1, 5, 9])),
    ((3, 3), PINWHEEL),
    ((4, 2), [((0, 0), (2, 2)), ((2, 0), (2, 1)), ((2, 1), (2, 1))]),
    ((4, 2), [((0, 0), (4, 2)), ((4, 0), (0, 2)), ((4, 0), (0, 2))]),  # ranks without a share
    ((), [((), ())]),
]


def indices(shape: tuple[int, ...], rng: random.Random) -> Iterator[Index]:
    yield ...
    yield None
    for _ in range(60):
        items: list[int | slice | None] = []
        for size in shape[: rng.randint(0, len(shape))]:
            if rng.random() < 0.3:
                items.append(rng.randrange(-size, size))
            else:
                ends = [rng.choice([None, *range(-size - 2, size + 3)]) for _ in range(2)]
                items.append(slice(*ends, rng.choice([None, 1, 2, 3])))
            if rng.random() < 0.1:
                items.append(None)
        yield (..., *items) if rng.random() < 0.3 else tuple(items)


@pytest.mark.parametrize(("shape", "boxes"), TILINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.bfloat16])
def test_every_index_gives_what_the_whole_gives(
    shape: tuple[int, ...], boxes: list[Box], dtype: torch.dtype
) -> None:
    whole = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    ref = Pieces(whole, boxes).ref(shape, str(dtype)[6:])
    for index in indices(shape, random.Random(2)):
        try:
            whole[index]
        except IndexError:
            with pytest.raises(IndexError):
                ref[index]
            continue
        read = ref[index]
        assert (read.shape, read.dtype) == (whole[index].shape, dtype), index
        assert torch.equal(read, whole[index]), index


@pytest.mark.parametrize("index", [5, (0, 0, 0), slice(None, None, -1), 1.5, (0, 9)])
def test_what_pytorch_refuses_is_refused(index: Index) -> None:
    whole = torch.zeros(4, 3)
    with pytest.raises((IndexError, ValueError, TypeError)) as theirs:
        whole[index]
    with pytest.raises(theirs.type):
        Pieces(whole, grid([0, 2, 4], [0, 3])).ref((4, 3))[index]


def test_other_indices_read_it_all() -> None:
    whole = torch.randn(4, 3)
    ref = Pieces(whole, grid([0, 2, 4], [0, 3])).ref((4, 3))
    for index in ([0, 3], True, torch.tensor([1, 2]), (slice(0, 1), [0, 2])):
        assert torch.equal(ref[index], whole[index])  # type: ignore[index]


def test_only_what_is_touched_is_read() -> None:
    whole = torch.randn(9, 4)
    pieces = Pieces(whole, grid([0, 3, 6, 9], [0, 2, 4]))
    ref = pieces.ref((9, 4))
    assert pieces.read == {}
    ref[4:7, 3]
    assert pieces.read == {3: [(slice(1, 3, 1), slice(1, 2, 1))], 5: [(slice(0, 1, 1), slice(1, 2, 1))]}


def test_a_tensor_in_one_piece_is_not_copied() -> None:
    whole = torch.randn(4)
    pieces = Pieces(whole, [((0,), (4,))])
    ref = pieces.ref((4,))
    assert ref.view().data_ptr() == ref.view().data_ptr()


def test_an_empty_tensor_reads_nothing() -> None:
    pieces = Pieces(torch.zeros(0, 3), [((0, 0), (0, 3)), ((0, 0), (0, 3))])
    assert pieces.ref((0, 3)).read().shape == (0, 3)
    assert pieces.read == {}


@pytest.mark.parametrize(
    ("shape", "boxes", "told"),
    [
        pytest.param((4, 2), [((0, 0), (2, 2))], "4 of 8 elements", id="half"),
        pytest.param((4, 2), [], "0 of 8", id="none"),
        pytest.param((4, 2), grid([0, 2, 4], [0, 2])[1:], "4 of 8", id="the first is missing"),
        pytest.param((4, 2), [((0, 0), (2, 2)), ((1, 0), (2, 2))], "overlap", id="overlap and hole"),
        pytest.param((4, 2), [((0, 0), (2, 2)), ((0, 0), (2, 2))], "overlap", id="one twice"),
        pytest.param((4,), [((0,), (4,)), ((0,), (4,))], "overlap", id="all of it twice"),
        pytest.param((4, 2), [((0, 0), (5, 2))], "outside", id="too long"),
        pytest.param((4, 2), [((3, 0), (2, 2)), ((0, 0), (2, 2))], "outside", id="reaches out"),
        pytest.param((4, 2), [((5, 0), (0, 2)), ((0, 0), (4, 2))], "outside", id="an empty one outside"),
        pytest.param((4, 2), [((0,), (8,))], "outside", id="other dimensions"),
        pytest.param((4, 2), [((-1, 0), (4, 2))], "outside", id="negative offset"),
        pytest.param((4, 2), [((0, 0), (-4, -2))], "outside", id="negative size"),
        pytest.param((), [((), ()), ((), ())], "overlap", id="two numbers for one"),
        pytest.param((3, 3), [*PINWHEEL[:-1], ((1, 0), (1, 1))], "overlap", id="a hole in the middle"),
        pytest.param((1 << 61, 1 << 61), [((0, 0), (1 << 61, 1 << 61))], "impossible", id="huge"),
        pytest.param((1 << 61, 0, 1 << 61), [], "impossible", id="huge and empty"),
        pytest.param((1,) * 65, [((0,) * 65, (1,) * 65)], "impossible", id="65 dimensions"),
        pytest.param((1 << 58, 2), grid([0, 1 << 58], [0, 1, 2]), "said to be in", id="more than is stored"),
    ],
)
def test_pieces_that_make_no_whole(shape: tuple[int, ...], boxes: list[Box], told: str) -> None:
    chunks = [Chunk(offsets, sizes, 1 << 58, "", lambda: pytest.fail("opened")) for offsets, sizes in boxes]
    with pytest.raises(CorruptCheckpointError, match=told) as caught:
        chunked_tensor("x", "float32", shape, chunks, TilingCheck(), "file: x")
    assert caught.value.where == "file: x"
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("dtype", ["float33", "qint8", "", "Tensor"])
def test_an_unknown_dtype_is_told(dtype: str) -> None:
    with pytest.raises(CorruptCheckpointError, match="dtype"):
        chunked_tensor("x", dtype, (), [], TilingCheck(), "file: x")


@pytest.mark.parametrize(("dtype", "shape"), [("float64", (2,)), ("float32", (3,)), ("float32", (1, 2))])
def test_a_piece_that_is_another_is_told_when_it_is_read(dtype: str, shape: tuple[int, ...]) -> None:
    other = TensorRef("", shape, dtype, fetch=lambda _: pytest.fail("read"))
    chunk = Chunk((0,), (2,), 1 << 58, "file: piece", lambda: other)
    ref = chunked_tensor("x", "float32", (2,), [chunk], TilingCheck(), "file: x")
    with pytest.raises(CorruptCheckpointError, match="announced") as caught:
        ref.read()
    assert caught.value.where == "file: piece"


def test_a_grid_of_many_pieces_is_quick_and_disorder_is_refused() -> None:
    def no_chunk() -> TensorRef:
        raise AssertionError

    boxes = grid(list(range(301)), list(range(301)))
    chunks = [Chunk(offsets, sizes, 4, "", no_chunk) for offsets, sizes in boxes]
    random.Random(0).shuffle(chunks)
    chunked_tensor("x", "float32", (300, 300), chunks, TilingCheck(), "file: x")
    chunks[0].sizes = (0, 1)
    chunks[1].sizes = (0, 1)
    with pytest.raises(UnsafeCheckpointError, match="no grid"):
        chunked_tensor("x", "float32", (300, 300), chunks, TilingCheck(), "file: x")
