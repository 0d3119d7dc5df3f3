"""`diff`: what differs, by how much, in blocks, whatever the dtype; numpy is asked for the numbers."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import torchgraft as tg
from torchgraft.comparing import values
from torchgraft.comparing.result import TensorDiff, ValueDiff

NAN, INF = math.nan, math.inf


def memory(**tensors: torch.Tensor) -> tg.Checkpoint:
    return tg.Checkpoint.from_state_dict(tensors)


def one(a: torch.Tensor, b: torch.Tensor) -> TensorDiff:
    (found,) = tg.diff(memory(x=a), memory(x=b), values=True).tensors
    return found


def test_names_shapes_and_dtypes(tmp_path: Path) -> None:
    torch.save(
        {"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(4), "d": torch.ones(5)}, tmp_path / "a.pth"
    )
    save_file(
        {"d": torch.zeros(5), "c": torch.ones(4).half(), "b": torch.ones(1, 3), "e": torch.ones(6)},
        tmp_path / "b.safetensors",
    )
    found = tg.diff(tmp_path / "a.pth", str(tmp_path / "b.safetensors"))
    assert {tensor.name: tensor.differences for tensor in found.tensors} == {
        "a": ("only in a",),
        "b": ("shape",),
        "c": ("dtype",),
        "d": (),
        "e": ("only in b",),
    }
    assert found.counts == {"same": 1, "only in a": 1, "only in b": 1, "shape": 1, "dtype": 1}
    assert not found.equal
    assert found.tensors[1].shapes == ((3,), (1, 3))
    assert found.tensors[4].shapes == (None, (6,))
    assert (found.a, found.b) == (str(tmp_path / "a.pth"), str(tmp_path / "b.safetensors"))


def test_the_same_in_two_formats(tmp_path: Path) -> None:
    tensors = {"w": torch.rand(30, 20), "n": torch.tensor(3), "h": torch.rand(5).bfloat16()}
    torch.save({"model": tensors}, tmp_path / "a.pth")
    save_file(tensors, tmp_path / "b.safetensors")
    found = tg.diff(tmp_path / "a.pth", tmp_path / "b.safetensors", values=True)
    assert found.equal
    assert all(tensor.values == ValueDiff(True, 0, 0, 0.0, 0.0) for tensor in found.tensors)


def test_parts_of_one_file(tmp_path: Path) -> None:
    torch.save({"net": {"w": torch.ones(2, 2)}, "ema": {"w": torch.zeros(2, 2)}}, tmp_path / "a.pth")
    opened = tg.open(tmp_path / "a.pth", select="net")
    assert tg.diff(tmp_path / "a.pth", opened, select="net", values=True).equal
    found = tg.diff(opened, opened.select("ema"), values=True)
    assert [tensor.differences for tensor in found.tensors] == [("values",)]


CASES = [
    ([1.0, 2.0], [1.0, 2.0], (True, 0, 0, 0.0, 0.0)),
    ([1.0, 2.0], [1.0, 4.0], (False, 1, 0, 2.0, 0.5)),
    ([1.0, -1.0], [-1.0, -1.0], (False, 1, 0, 2.0, 2.0)),
    ([0.0], [-0.0], (False, 0, 0, 0.0, 0.0)),
    ([NAN, 1.0], [NAN, 1.0], (True, 0, 0, 0.0, 0.0)),
    ([NAN, 1.0], [0.0, 1.5], (False, 2, 1, 0.5, 1 / 3)),
    ([INF, -INF], [INF, -INF], (True, 0, 0, 0.0, 0.0)),
    ([INF], [-INF], (False, 1, 0, INF, INF)),
    ([INF], [1.0], (False, 1, 0, INF, INF)),
    ([INF, 1.0], [NAN, 1.0], (False, 1, 1, 0.0, 0.0)),
    ([0.0], [1e-30], (False, 1, 0, 1e-30, 1.0)),
]


@pytest.mark.parametrize(("a", "b", "wanted"), CASES)
def test_numbers(a: list[float], b: list[float], wanted: tuple[object, ...]) -> None:
    found = one(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)).values
    assert found is not None
    assert (found.identical, found.differing, found.only_nan) == wanted[:3]
    assert (found.max_abs, found.max_rel) == pytest.approx(wanted[3:])


def test_bits_that_are_no_values() -> None:
    assert one(torch.tensor([0.0]), torch.tensor([-0.0])).differences == ("bits",)
    quiet, other = (
        torch.tensor([bits], dtype=torch.int32).view(torch.float32) for bits in (0x7FC00000, 0x7FC00001)
    )
    assert one(quiet, other).differences == ("bits",)
    assert one(quiet, quiet.clone()).differences == ()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("rows", [1, 500])
def test_how_far_a_tensor_moved(dtype: torch.dtype, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces, of which some are the same; numpy is asked, with what is not finite left out."""
    monkeypatch.setattr(values, "_PIECE", 1 << 12)
    torch.manual_seed(0)
    a = torch.randn(rows, 300, dtype=torch.float64).to(dtype)
    b = a.clone()
    b[-1] += 0.5
    a[0, :3], b[0, 1:4] = NAN, INF
    found = one(a, b).values
    x, y = (t.to(torch.complex128 if dtype.is_complex else torch.float64).numpy() for t in (a, b))
    finite = np.isfinite(x) & np.isfinite(y)
    assert found is not None
    assert found.distance == pytest.approx(np.linalg.norm((x - y)[finite]), rel=1e-12)
    assert found.norm == pytest.approx(np.linalg.norm(x[finite]), rel=1e-12)
    assert found.moved == found.distance / found.norm


def test_moving_away_from_nothing_is_infinitely_far() -> None:
    moved = one(torch.zeros(3), torch.ones(3)).values
    assert moved is not None
    assert moved.moved == INF
    assert ValueDiff(True, 0, 0, 0.0, 0.0).moved == 0.0


LARGE = 2**62
OTHERS = {
    "bool": (torch.tensor([True, False]), torch.tensor([True, True]), 1, 1.0),
    "uint8": (
        torch.tensor([0, 255], dtype=torch.uint8),
        torch.tensor([255, 255], dtype=torch.uint8),
        1,
        255.0,
    ),
    "int64 neighbours": (torch.tensor([LARGE]), torch.tensor([LARGE + 1]), 1, 1.0),
    "int64 extremes": (torch.tensor([2**63 - 1]), torch.tensor([-(2**63)]), 1, 2.0**64),
    "uint64": (
        torch.tensor([2**64 - 1], dtype=torch.uint64),
        torch.tensor([2**64 - 3], dtype=torch.uint64),
        1,
        2.0,
    ),
    "uint64 extremes": (
        torch.tensor([2**64 - 1], dtype=torch.uint64),
        torch.tensor([0], dtype=torch.uint64),
        1,
        2.0**64,
    ),
    "float8": (
        torch.tensor([1.0, 2]).to(torch.float8_e4m3fn),
        torch.tensor([1.0, 4]).to(torch.float8_e4m3fn),
        1,
        2.0,
    ),
    "complex64": (torch.tensor([1 + 1j, 2]), torch.tensor([1 - 2j, 2]), 1, 3.0),
    "conjugated": (torch.tensor([1 + 1j, 2]).conj(), torch.tensor([1 + 1j, 2]), 1, 2.0),
    "transposed": (torch.arange(6.0).reshape(2, 3).t(), torch.arange(6.0).reshape(3, 2), 4, 2.0),
}


@pytest.mark.parametrize("case", OTHERS)
def test_every_dtype(case: str) -> None:
    a, b, differing, most = OTHERS[case]
    found = one(a, b)
    assert found.values is not None
    assert (found.values.differing, found.values.max_abs) == (differing, most)
    assert one(a, a.clone()).differences == ()
    assert one(b, b.clone()).values == ValueDiff(True, 0, 0, 0.0, 0.0)


def test_two_dtypes_of_the_same_numbers() -> None:
    found = one(torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.1]).half())
    assert found.differences == ("dtype", "values")
    assert found.values is not None
    assert found.values.max_abs == pytest.approx(abs(float(np.float32(0.1)) - float(np.float16(0.1))))
    assert one(torch.tensor([1.0, 2.0]), torch.tensor([1, 2])).differences == ("dtype",)


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta", "ignore:TypedStorage is deprecated")
@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
def test_sparse_and_quantised_tensors(tmp_path: Path) -> None:
    def write(name: str, scale: float) -> Path:
        q = torch.quantize_per_tensor(torch.tensor([0.0, 1.0]), scale, 0, torch.qint8)
        torch.save({"s": torch.eye(3).mul(scale).to_sparse(), "q": q, "w": torch.ones(2)}, tmp_path / name)
        return tmp_path / name

    assert tg.diff(write("a.pth", 0.5), write("b.pth", 0.5), values=True).equal
    found = {
        t.name: t.values for t in tg.diff(write("a.pth", 0.5), write("b.pth", 0.25), values=True).tensors
    }
    assert found["s"] is not None
    assert (found["s"].differing, found["s"].max_abs) == (3, 0.25)
    assert found["q"] is not None
    assert not found["q"].identical


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 7),
    st.integers(1, 200),
    st.lists(st.tuples(st.integers(0, 34), st.sampled_from([0.0, 1.5, -2.0, NAN, INF])), max_size=6),
)
def test_in_pieces_as_numpy_in_one(
    rows: int, columns: int, piece: int, changes: list[tuple[int, float]]
) -> None:
    a = torch.arange(rows * columns, dtype=torch.float32).reshape(rows, columns)
    b = a.clone()
    for place, value in changes:
        b.view(-1)[place % b.numel()] = value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "_PIECE", piece)
        found = one(a, b).values
    assert found is not None
    x, y = a.numpy().astype(np.float64), b.numpy().astype(np.float64)
    assert found.identical == (x.tobytes() == y.tobytes())
    assert found.differing == int((x != y).sum())
    assert found.only_nan == int(np.isnan(y).sum())
    with np.errstate(invalid="ignore"):
        assert found.max_abs == np.nan_to_num(np.abs(x - y), nan=0.0, posinf=INF).max()


def test_layouts_that_differ_are_not_compared(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        **{"dense/kernel": np.ones((2, 2), np.float32), "dense/bias": np.ones(2, np.float32)},
    )
    keys = tg.open(tmp_path / "a.npz")
    assert keys["dense/kernel"].layout == "IO"
    save_file({key: torch.ones(ref.shape) for key, ref in keys.items()}, tmp_path / "b.safetensors")
    found = {t.name: t for t in tg.diff(tmp_path / "a.npz", tmp_path / "b.safetensors", values=True).tensors}
    assert found["dense/kernel"].differences == ("layout",)
    assert found["dense/kernel"].values is None
    assert found["dense/bias"].differences == ()


def test_as_json() -> None:
    found = tg.diff(memory(x=torch.tensor([INF, 1.0]), y=torch.ones(1)), memory(x=torch.ones(2)), values=True)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["equal"] is False
    assert data["counts"] == {"same": 0, "only in a": 1, "values": 1}
    assert data["tensors"][0] == {
        "name": "x",
        "differences": ["values"],
        "shapes": [[2], [2]],
        "dtypes": ["float32", "float32"],
        "layouts": ["", ""],
        "values": {
            "identical": False,
            "differing": 1,
            "only_nan": 0,
            "max_abs": "inf",
            "max_rel": "inf",
            "distance": 0.0,
            "norm": 1.0,
        },
    }
    assert data["tensors"][1]["shapes"] == [[1], None]


def test_as_text_and_frozen() -> None:
    found = tg.diff(
        memory(x=torch.zeros(2), y=torch.ones(1), z=torch.ones(2, 2)),
        memory(x=torch.ones(2), z=torch.ones(4).half()),
    )
    assert str(found).splitlines()[1:] == [
        "  y: only in a",
        "  z: shape [2, 2] and [4]; float32 and float16",
        "  values were not compared (values=True)",
    ]
    assert "2 of its values, by up to 1" in str(
        tg.diff(memory(x=torch.zeros(2)), memory(x=torch.ones(2)), values=True)
    )
    with pytest.raises(FrozenInstanceError):
        found.a = "x"  # type: ignore[misc]


def test_without_values_no_torch(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2, 2)}, tmp_path / "a.pth")
    path = str(tmp_path / "a.pth")
    code = f"import torchgraft as tg, sys; print(tg.diff({path!r}, {path!r}))\n"
    code += "assert not {'torch', 'numpy'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no difference" in done.stdout


def test_what_cant_be_read(tmp_path: Path) -> None:
    with pytest.raises(tg.CheckpointError, match="no such file"):
        tg.diff(tmp_path / "absent.pth", tmp_path / "absent.pth")
