"""What the values of tensors are like; numpy is asked for the numbers."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch

import torchgraft as tg
from torchgraft.measuring import BINS, TensorStats, measure, values


def measured(**tensors: torch.Tensor) -> dict[str, TensorStats]:
    return measure(tg.Checkpoint.from_state_dict(tensors))


def one(tensor: torch.Tensor) -> TensorStats:
    return measured(x=tensor)["x"]


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


CASES = {
    "float64": normal(1000),
    "float32": normal(40, 30).float() * 1e3 + 5e4,
    "float16": normal(257).half(),
    "bfloat16": normal(16, 16).bfloat16(),
    "float8_e4m3fn": normal(64).to(torch.float8_e4m3fn),
    "int64": torch.arange(-50, 100),
    "uint8": torch.arange(256, dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "transposed": normal(7, 9).t(),
    "one value": torch.tensor(3.5),
    "holes": torch.where(normal(500) > 1, math.nan, torch.where(normal(500) < -1, math.inf, normal(500))),
    "huge": torch.tensor([-1.5e308, 0.0, 1.5e308], dtype=torch.float64),
}


@pytest.mark.parametrize("piece", [1 << 22, 64], ids=["whole", "in pieces"])
@pytest.mark.parametrize("case", CASES)
def test_numbers_are_numpys(case: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_PIECE", piece)
    tensor = CASES[case]
    found = one(tensor)
    x = tensor.double().numpy().reshape(-1)
    finite = x[np.isfinite(x)]
    assert found.count == x.size
    assert found.nan == np.isnan(x).sum()
    assert found.inf == np.isinf(x).sum()
    assert found.zeros == (x == 0).sum()
    assert (found.low, found.high) == (finite.min(), finite.max())
    if case != "huge":  # whose squares are infinite, with numpy too
        assert found.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-12)
        assert found.sd == pytest.approx(finite.std(), rel=1e-9, abs=1e-12)
    assert found.histogram is not None
    counts = found.histogram.counts
    assert (len(counts), sum(counts)) == (BINS, finite.size)
    if case != "huge":
        expected, _ = np.histogram(finite, BINS, (found.histogram.low, found.histogram.high))
        assert (
            np.abs(np.cumsum(expected) - np.cumsum(counts)).max() <= 1
        )  # a value on an edge may go either way


def test_complex_numbers_are_two_values_each() -> None:
    z = torch.complex(normal(8), -normal(8))
    found, apart = one(z), one(torch.view_as_real(z))
    assert all(getattr(found, f.name) == getattr(apart, f.name) for f in fields(found))


@pytest.mark.parametrize(
    ("tensor", "dead", "constant"),
    [
        (torch.zeros(4), True, False),
        (torch.zeros(1), True, False),
        (torch.ones(4), False, True),
        (torch.ones(1), False, False),
        (torch.tensor([1.0, math.nan]), False, False),
        (torch.tensor([math.nan, math.nan]), False, False),
        (torch.tensor([math.inf, math.inf]), False, False),
        (torch.empty(0), False, False),
        (torch.tensor([1.0, 2.0]), False, False),
    ],
)
def test_dead_and_constant(tensor: torch.Tensor, dead: bool, constant: bool) -> None:
    found = one(tensor)
    assert (found.dead, found.constant) == (dead, constant)


def test_twins_are_the_same_bits_of_the_same_shape_and_dtype() -> None:
    w = normal(3, 4).float()
    found = measured(
        first=w, copy=w.clone(), tied=w, turned=w.t().contiguous(), wider=w.double(), other=w + 1,
        zeros=torch.zeros(3, 4), more_zeros=torch.zeros(3, 4), strided=w.t().contiguous().t(),
    )  # fmt: skip
    assert {name: (each.twin, each.tied) for name, each in found.items() if each.twin} == {
        "copy": ("first", False),
        "tied": ("first", True),
        "strided": ("first", False),
    }


def test_a_file_is_measured_as_its_tensors_are(tmp_path) -> None:
    tensors = {"a": normal(50).float(), "b": normal(5, 5).half()}
    torch.save(tensors, tmp_path / "x.pth")
    assert measure(tg.open(tmp_path / "x.pth")) == measured(**tensors)
