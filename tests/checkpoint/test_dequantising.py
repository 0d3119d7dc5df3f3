"""Quantised weights are what their numbers stand for, bit for bit, whatever part of them is read."""

from __future__ import annotations

import pytest
import torch
from transformers.integrations.finegrained_fp8 import Fp8Dequantize

import torchgraft as tg
from checkpoint.quantisers import CONVENTIONS, bitsandbytes, deepseek, per_row
from torchgraft.checkpoint import dequantised, find_scalings
from torchgraft.checkpoint.scaling import Scaling, blocks_of

SHAPE = (140, 200)
INDICES = [
    ...,
    3,
    -1,
    slice(5, 9),
    slice(130, None, 4),
    slice(50, 40),
    (slice(None), 7),
    (slice(120, 135), slice(100, 160, 7)),
    (139, 199),
    (..., slice(126, 130)),
    (None, slice(127, 129)),
    (slice(None), None, slice(0, 1)),
]


@pytest.fixture
def weight():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(SHAPE, generator=generator) * torch.logspace(-3, 1, SHAPE[0])[:, None]


def read(tensors):
    """The checkpoint with its weights dequantised."""
    checkpoint = tg.Checkpoint.from_state_dict(tensors)
    found = find_scalings(checkpoint)
    return dequantised(checkpoint, found.scalings, found.aside)


@pytest.mark.parametrize("convention", CONVENTIONS, ids=[c.name for c in CONVENTIONS])
def test_as_the_numbers_say(convention, weight):
    tensors = convention.quantise(weight)
    view = read(tensors)
    assert list(view) == ["layer.weight"]
    ref = view["layer.weight"]
    assert (ref.dtype, ref.shape) == ("float32", SHAPE)
    expected = convention.values(tensors)
    assert torch.equal(ref.read(), expected)
    for index in INDICES:
        assert torch.equal(ref.read(index), expected[index]), index
    assert float((expected - weight).abs().max()) <= convention.error * float(weight.abs().max())
    assert not torch.equal(expected, tensors["layer.weight"].float())


def test_large_weights_are_scaled_piece_by_piece(monkeypatch, weight):
    tensors = deepseek(weight)
    whole = read(tensors)["layer.weight"].read()
    monkeypatch.setattr("torchgraft.checkpoint.dequantising._AT_ONCE", 900)
    assert torch.equal(read(tensors)["layer.weight"].read(), whole)


@pytest.mark.parametrize("shape", [(256, 384), (128, 128), (512, 128)])
def test_transformers_dequantises_alike(shape):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    tensors = deepseek(w)
    theirs = Fp8Dequantize(None)._dequantize_one(
        tensors["layer.weight"], tensors["layer.weight_scale_inv"], output_dtype=torch.float32
    )
    assert torch.equal(read(tensors)["layer.weight"].read(), theirs)


def test_only_the_rows_asked_for_are_read(weight):
    asked = []
    tensors = deepseek(weight)

    def fetch(name):
        def fetched(index):
            asked.append((name, index))
            return tensors[name][index]

        return fetched

    refs = {
        name: tg.TensorRef(name, tuple(t.shape), str(t.dtype).removeprefix("torch."), fetch=fetch(name))
        for name, t in tensors.items()
    }
    checkpoint = tg.Checkpoint(refs)
    view = dequantised(checkpoint, find_scalings(checkpoint).scalings)
    assert asked == []
    view["layer.weight"].read(slice(3, 5))
    assert asked == [("layer.weight", slice(3, 5)), ("layer.weight_scale_inv", ...)]


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
def test_other_dimensions(dtype):
    """Experts one after the other, a scale for each or for each of their rows; a convolution; a bias."""
    table = [
        *[((3, 4, 5), scales) for scales in ((3,), (3, 1, 1), (3, 4, 1), (3, 1, 5), (3, 4))],
        *[((6, 2, 3, 3), scales) for scales in ((6, 1, 1, 1), (6,))],
        *[((6,), (6,)), ((6,), (1,)), ((), ())],
    ]
    for shape, scales in table:
        stored = torch.randint(-9, 9, shape).to(dtype)
        scale = torch.rand(scales) + 0.5
        spread = scale.reshape(scales + (1,) * max(0, len(shape) - len(scales)))
        view = read({"experts": stored, "experts_scale": scale})
        assert torch.equal(view["experts"].read(), stored.float() * spread), (shape, scales)


@pytest.mark.parametrize(
    ("shape", "scales", "blocks"),
    [
        ((256, 384), (2, 3), (128, 128)),
        ((576, 7168), (5, 56), (128, 128)),  # DeepSeek-V3's kv_a_proj_with_mqa: the last block is cut
        ((192, 64), (2, 1), (128, 64)),
        ((64, 96), (64, 3), (1, 32)),
        ((10, 60), (10, 3), (1, 20)),
        ((10, 10), (10,), (1, 10)),
        ((10, 10), (1, 10), (10, 1)),
        ((320, 4), (2, 1), None),  # 160 each, or 256 and 64
        ((3072, 64), (3, 1), None),  # a scale for each of q, k and v, whose sizes are not known
        ((384, 64), (3,), None),
        ((10, 10), (3, 1), None),
        ((10,), (10, 1), None),
        ((4, 4), (5, 1), None),
        ((4, 4), (0, 1), None),
        ((0, 4), (), (1, 4)),
    ],
)
def test_blocks(shape, scales, blocks):
    assert blocks_of(shape, scales) == blocks


def test_scales_that_do_not_fit_are_refused():
    bad = {"a.weight": torch.zeros(10, 10, dtype=torch.int8), "a.weight_scale": torch.ones(3)}
    with pytest.raises(tg.CheckpointError, match=r"a\.weight: its scales, a\.weight_scale float32 \[3\]"):
        find_scalings(tg.Checkpoint.from_state_dict(bad))
    bad = {"a.weight": torch.zeros(10, 10, dtype=torch.int8), "a.SCB": torch.ones(1)}
    with pytest.raises(tg.CheckpointError, match="don't fit"):
        find_scalings(tg.Checkpoint.from_state_dict(bad))
    bad = per_row(torch.rand(4, 4), torch.int8) | {"layer.weight_zero_point": torch.zeros(1)}
    with pytest.raises(tg.CheckpointError, match="don't fit"):
        find_scalings(tg.Checkpoint.from_state_dict(bad))


def test_interleaved_rows_are_refused_when_they_are_read(weight):
    tensors = bitsandbytes(weight) | {"layer.weight_format": torch.tensor(2, dtype=torch.uint8)}
    with pytest.raises(tg.CheckpointError, match="interleaved"):
        read(tensors)["layer.weight"].read()


def test_what_is_no_quantised_weight_stays(weight):
    """A layer that is called so, whole numbers without scales, a float weight with a scale of its own."""
    tensors = {
        "position_ids": torch.arange(4, dtype=torch.int8),
        "norm.weight": torch.ones(4),
        "norm.weight_scale": torch.ones(4),
        "input_scale": torch.ones(1),
        "empty": torch.zeros(0, 3, dtype=torch.int8),
    }
    assert dict(read(tensors)) == dict(tg.Checkpoint.from_state_dict(tensors))


@pytest.mark.filterwarnings("ignore:torch.quantize_per")  # given once a process
def test_pytorchs_own():
    w = torch.randn(6, 4)
    zeros = torch.zeros(6, dtype=torch.long)
    stored = torch.quantize_per_channel(w, torch.rand(6) + 0.1, zeros, 0, torch.qint8)
    view = read({"w": stored})
    assert torch.equal(view["w"].read(), stored.dequantize())
    assert torch.equal(view["w"].read(slice(1, 3)), stored.dequantize()[1:3])


def test_tied_weights_stay_tied(weight):
    tensors = deepseek(weight)
    tensors |= {name.replace("layer", "again"): tensor for name, tensor in tensors.items()}
    view = read(tensors)
    assert view["layer.weight"].alias == view["again.weight"].alias is not None


def test_json():
    scaling = Scaling("a.weight_scale", "a.weight_zero_point", (1, 5), 0.5, "a.weight_format")
    assert Scaling.from_json(scaling.to_json()) == scaling
    for damage in ({"block": [0]}, {"scale": 3}, {"factor": "x"}, {"block": None}):
        with pytest.raises((ValueError, TypeError)):
            Scaling.from_json({**scaling.to_json(), **damage})


@pytest.mark.parametrize(
    ("scaling", "words"),
    [
        (Scaling("l.weight_scale_inv", None, (128, 128)), "int8 * weight_scale_inv, blocks of 128x128"),
        (Scaling("l.weight_scale", None, (1, 300)), "int8 * weight_scale, row by row"),
        (Scaling("l.weight_scale", "l.zp", (200, 300)), "(int8 - zp) * weight_scale"),
        (Scaling("l.SCB", None, (1, 300), 1 / 127), "int8 * SCB / 127, row by row"),
        (Scaling(), "int8, dequantised"),
    ],
)
def test_words(scaling, words):
    assert scaling.describe("int8", (200, 300)) == words
