"""What a comparison found: frozen, printable, JSON."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

__all__ = ["Diff", "Difference", "TensorDiff", "ValueDiff"]

Difference: TypeAlias = Literal["only in a", "only in b", "shape", "dtype", "layout", "values", "bits"]
"""`"bits"`: no value differs, but their bits do (zeros of either sign, or two kinds of NaN)."""

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ValueDiff:
    """How the elements of two tensors of one shape differ.

    Attributes:
        identical: Whether they are the same bit for bit, dtype included.
        differing: How many elements differ. NaN is equal to NaN, and a negative zero to zero.
        only_nan: How many of them are NaN in one tensor alone.
        max_abs: The largest absolute difference of two numbers, infinite between an infinity and a number.
        max_rel: The largest difference in proportion to the larger of the two absolute values: 0 to 2.
        distance: The Euclidean length of the difference, over the elements that are finite in both.
        norm: That of the first tensor over the same elements; 0 where the two are identical, as it is not
            computed then.
    """

    identical: bool
    differing: int
    only_nan: int
    max_abs: float
    max_rel: float
    distance: float = 0.0
    norm: float = 0.0

    @property
    def moved(self) -> float:
        """The distance in proportion to the first tensor's length; infinite if that is 0 and they differ."""
        if not self.distance:
            return 0.0
        return self.distance / self.norm if self.norm else math.inf


@dataclass(frozen=True, slots=True)
class TensorDiff:
    """One name, in one checkpoint or both.

    Attributes:
        name: The key.
        shapes: In the first checkpoint and in the second; `None` where the name is not there.
        dtypes: Likewise.
        layouts: Likewise; see `TensorRef.layout`.
        values: How the elements differ, where they were compared: shapes and layouts are the same.
    """

    name: str
    shapes: tuple[tuple[int, ...] | None, tuple[int, ...] | None]
    dtypes: tuple[str | None, str | None]
    layouts: tuple[str | None, str | None]
    values: ValueDiff | None = None

    @property
    def differences(self) -> tuple[Difference, ...]:
        """In what they differ, as far as it was compared; empty if in nothing."""
        if self.shapes[1] is None:
            return ("only in a",)
        if self.shapes[0] is None:
            return ("only in b",)
        found: list[Difference] = []
        pairs: tuple[tuple[Difference, tuple[object, object]], ...] = (
            ("shape", self.shapes),
            ("dtype", self.dtypes),
            ("layout", self.layouts),
        )
        found += [what for what, (one, other) in pairs if one != other]
        if self.values is not None and self.values.differing:
            found.append("values")
        elif self.values is not None and not self.values.identical and not found:
            found.append("bits")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Diff:
    """Two checkpoints compared.

    Attributes:
        a: The first one's name.
        b: The second one's.
        values: Whether values were compared, or names, shapes and dtypes alone.
        tensors: Every name: in the first one's order, then those that are in the second one alone.
    """

    a: str
    b: str
    values: bool
    tensors: tuple[TensorDiff, ...]

    @property
    def equal(self) -> bool:
        """Whether they are the same, as far as they were compared."""
        return not any(tensor.differences for tensor in self.tensors)

    @property
    def counts(self) -> dict[str, int]:
        """How many names there are of each difference, and `"same"` of none."""
        counted = Counter[str](what for tensor in self.tensors for what in tensor.differences or ("same",))
        order = ("same", "only in a", "only in b", "shape", "dtype", "layout", "values", "bits")
        return {what: counted[what] for what in order if counted[what] or what == "same"}

    def to_json(self) -> dict[str, object]:
        """Plain data. Infinity is `"inf"`, which JSON has no number for."""
        return {
            "a": self.a,
            "b": self.b,
            "equal": self.equal,
            "values_compared": self.values,
            "counts": self.counts,
            "tensors": [_as_json(tensor) for tensor in self.tensors],
        }

    def __str__(self) -> str:
        counted = ", ".join(f"{n:,} {what}" for what, n in self.counts.items())
        lines = [f"{self.a} and {self.b}: {'no difference' if self.equal else 'they differ'} ({counted})"]
        different = [tensor for tensor in self.tensors if tensor.differences]
        lines += [f"  {tensor.name}: {_in_words(tensor)}" for tensor in different[:_SHOWN]]
        if len(different) > _SHOWN:
            lines.append(f"  … {len(different) - _SHOWN:,} more")
        if not self.values:
            lines.append("  values were not compared (values=True)")
        return "\n".join(lines)


def _in_words(tensor: TensorDiff) -> str:
    words = []
    for what in tensor.differences:
        if what == "shape":
            words.append("shape {} and {}".format(*(list(shape or ()) for shape in tensor.shapes)))
        elif what == "dtype":
            words.append("{} and {}".format(*tensor.dtypes))
        elif what == "layout":
            words.append("layout {} and {}".format(*(layout or "as PyTorch's" for layout in tensor.layouts)))
        elif what == "values" and tensor.values is not None:
            words.append(f"{tensor.values.differing:,} of its values, by up to {tensor.values.max_abs:.3g}")
        else:
            words.append(what)
    return "; ".join(words)


def _as_json(tensor: TensorDiff) -> dict[str, object]:
    values = None if tensor.values is None else asdict(tensor.values)
    for key in ("max_abs", "max_rel", "distance", "norm"):
        if values and math.isinf(values[key]):
            values[key] = "inf"
    return {
        "name": tensor.name,
        "differences": list(tensor.differences),
        "shapes": [None if shape is None else list(shape) for shape in tensor.shapes],
        "dtypes": list(tensor.dtypes),
        "layouts": list(tensor.layouts),
        "values": values,
    }
