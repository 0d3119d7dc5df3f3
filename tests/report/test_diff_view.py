"""Two checkpoints compared, on a terminal."""

from __future__ import annotations

import io
import re

from rich.console import Console

from torchgraft.comparing import Diff, TensorDiff, ValueDiff
from torchgraft.report.diff_rows import diff_rows
from torchgraft.report.terminal import diff_view

SAME = ValueDiff(True, 0, 0, 0.0, 0.0)


def both(name: str, shape: tuple[int, ...], values: ValueDiff | None = SAME) -> TensorDiff:
    return TensorDiff(name, (shape, shape), ("float32", "float32"), ("", ""), values)


def comparison() -> Diff:
    tensors = [both("stem.weight", (8, 3, 3, 3))]
    for i in range(4):
        tensors.append(both(f"blocks.{i}.conv.weight", (8, 8), ValueDiff(False, 5, 0, 0.25 + i, 0.5)))
        tensors.append(both(f"blocks.{i}.norm.weight", (8,)))
    tensors += [
        TensorDiff("fc.weight", ((1000, 8), (10, 8)), ("float32", "float32"), ("", "")),
        TensorDiff("fc.bias", ((1000,), (10,)), ("float32", "float32"), ("", "")),
        TensorDiff(
            "half.weight",
            ((2, 2), (2, 2)),
            ("float32", "float16"),
            ("", ""),
            ValueDiff(False, 0, 0, 0.0, 0.0),
        ),
        TensorDiff("dense.kernel", ((4, 4), (4, 4)), ("float32", "float32"), ("IO", "")),
        both("odd", (3,), ValueDiff(False, 2, 1, 1.0, 1.0)),
        both("zero", (1,), ValueDiff(False, 0, 0, 0.0, 0.0)),
        TensorDiff("old.0.w", ((2,), None), ("int64", None), ("", None)),
        TensorDiff("old.1.w", ((3,), None), ("int64", None), ("", None)),
        TensorDiff("new", (None, ()), (None, "float32"), (None, "")),
    ]
    return Diff("a.pth", "b.safetensors", True, tuple(tensors))


def seen(view: object, width: int = 110) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(view)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").split("\n"))


GOLDEN = """\
a  a.pth
b  b.safetensors

✗ 18 tensors: 5 same · 2 only in a · 1 only in b · 2 shape · 1 dtype · 1 layout · 5 values · 1 bits

             tensor                          shape
− only in a  old.{0,1}.w                 ×2  [2…3]                int64
+ only in b  new                             []                   float32
≠ shape      fc.weight                       [1000, 8] | [10, 8]
≠ shape      fc.bias                         [1000] | [10]
≠ dtype      half.weight                     [2, 2]               float32 | float16 · the same values
≠ layout     dense.kernel                    [4, 4]               layout IO | PyTorch's
≠ values     blocks.{0...3}.conv.weight  ×4  [8, 8]               20 of 256 values, by up to 3.25 (0.5
                                                                  relative)
≠ values     odd                             [3]                  2 of 3 values, by up to 1 (1 relative), 1
                                                                  NaN in one only
≠ bits       zero                            [1]                  the same values"""


def test_golden() -> None:
    assert seen(diff_view(comparison())) == GOLDEN


def test_all_shows_every_name() -> None:
    text = seen(diff_view(comparison(), all=True))
    for tensor in comparison().tensors:
        assert re.search(rf" {re.escape(tensor.name)} ", text)
    assert "the same bit for bit" in text


def test_no_difference() -> None:
    same = Diff("a", "b", False, (both("w", (2,), None),))
    assert "✓ no difference in names, shapes and dtypes of 1 tensor  (values were not compared)" in seen(
        diff_view(same)
    )
    same = Diff("a", "b", True, (both("w", (2,)),))
    assert (
        seen(diff_view(same)).splitlines()[-1]
        == "✓ no difference in names, shapes, dtypes and values of 1 tensor"
    )


def test_siblings_that_differ_otherwise_are_apart() -> None:
    rows = diff_rows(
        Diff("a", "b", True, (both("l.0.w", (2,), ValueDiff(False, 1, 0, 1.0, 1.0)), both("l.1.w", (2,)),
             TensorDiff("l.2.w", ((2,), (3,)), ("float32", "float32"), ("", ""))))
    )  # fmt: skip
    assert [(row.what, row.name) for row in rows] == [("shape", "l.2.w"), ("values", "l.0.w")]


def test_hostile_text_steers_nothing() -> None:
    text = "\x1b[2J[bold]x[/]\r\u202e"
    hostile = Diff(text, text, True, (TensorDiff(text, ((1,), (1,)), ("float32", text), (text, "")),))
    for everything in (False, True):
        shown = seen(diff_view(hostile, all=everything), 200)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
        assert r"\x1b[2J[bold]x[/]\r\u202e" in shown
