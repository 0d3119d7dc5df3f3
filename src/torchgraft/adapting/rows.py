"""The op that carries a classifier's rows over to another set of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from torchgraft.adapting.change import Change
from torchgraft.adapting.new_rows import NewRows, computed_rows, normal_new_rows
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.precision import widened
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["Rows"]

_EFFECTS: dict[NewRows, str] = {
    "model": "new classes start as the model initialises them",
    "mean": "a new class starts with the mean of the old scores, below the likeliest",
    "mean-cov": "a new class starts with scores spread as the old ones are",
    "zeros": "a new class starts with a low score that is the same for every input",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows (first dimension) of a classifier's weight or bias, picked by class.

    | mode | new rows |
    |---|---|
    | `model` | keep the value the model initialised them with (`base`) |
    | `mean` | the mean of the source's rows |
    | `mean-cov` | drawn with the mean and covariance of the source's rows, normal, with a fixed seed |
    | `zeros` | weight 0, bias the lowest of the source's, or log(0.01/0.99) if that is lower |

    What they mean:
        The score of a `mean` row is the mean of the old scores. By Jensen's inequality a softmax over n old
        classes and it gives it at most 1/(n+1), whatever the input. A `zeros` row has the same score for
        every input: through a sigmoid at most 0.01. `mean-cov` draws a row's weight and bias together.
        Where the source's rows all have one length, as in a cosine classifier, computed rows other than
        zeros are brought to it.

    Sources:
        `mean` and `mean-cov`: Hewitt, Initializing New Word Embeddings for Pretrained Language Models (2021).
        The low bias of `zeros`: the prior of Lin et al., Focal Loss for Dense Object Detection (2017), §4.1.

    Attributes:
        rows: For each new row the source's row, or `None`.
        source_rows: How many the source has.
        mode: Where new rows come from.
    """

    name: ClassVar[str] = "rows"

    rows: tuple[int | None, ...]
    source_rows: int
    mode: NewRows = "model"

    def __post_init__(self) -> None:
        normal_new_rows(self.mode)
        beyond = [row for row in self.rows if row is not None and not 0 <= row < self.source_rows]
        if beyond:
            raise AdaptError(f"there is no classifier row {beyond[0]}: the source has {self.source_rows}")

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> Rows | None:
        """The op for a head, if it is known which row is which class."""
        rows = change.rows
        if change.role != "head" or rows is None or len(shape) != len(change.target) or not shape:
            return None
        if shape == change.target == (1,) != (rows.source_rows,):
            return None  # a scale, which all classes have in common
        have = len(rows.merges) or rows.source_rows
        if rows.rows == tuple(range(have)) and shape[0] == change.target[0]:
            return None
        if (have, len(rows.rows)) != (shape[0], change.target[0]):
            raise AdaptError(
                f"{rows.source_rows} and {len(rows.rows)} class names don't fit a head of {shape[0]} and "
                f"{change.target[0]} rows",
            )
        mode = normal_new_rows(change.mode(cls.name, "model", get_args(NewRows)))
        if not rows.carried and mode == "model":
            raise AdaptError(
                f"none of the {len(rows.rows)} class names is among the source's {rows.source_rows}",
                hint='let the head start fresh: allow_fresh="head"',
            )
        return cls(rows.rows, have, mode)

    @property
    def needs_base(self) -> bool:
        """Whether the model's own rows are kept for some classes."""
        return self.mode == "model" and None in self.rows

    def describe(self) -> str:
        """Such as `"rows 1000→10 by class, 8 carried, 2 fresh"`."""
        fresh = self.rows.count(None)
        text = f"rows {self.source_rows}→{len(self.rows)} by class, {len(self.rows) - fresh} carried"
        if not fresh:
            return text
        return f"{text}, {fresh} fresh" if self.mode == "model" else f"{text}, {fresh} new by {self.mode}"

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        return _EFFECTS[self.mode] if None in self.rows else ""

    def with_mode(self, mode: object) -> Rows:
        """The same step in another mode."""
        return replace(self, mode=normal_new_rows(mode))

    def shape(self, source: Shape) -> Shape:
        """`(rows, …)` → `(new rows, …)`."""
        return (len(self.rows), *source[1:])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """The new rows. With the model's own, in the wider of both dtypes, so that these are not rounded to
        the source's; computed ones in the source's dtype.

        Raises:
            AdaptError: A shape does not fit, or rows are fresh and there is no `base`.
        """
        fresh = self.rows.count(None)
        if self.mode == "model" or not fresh:
            return _pick(self.describe(), tensor, self.source_rows, self.rows, base)
        import torch

        _check_height(self.describe(), tensor, self.source_rows)
        made = computed_rows(self.mode, widened(tensor), fresh).to(tensor.dtype)
        places = iter(range(self.source_rows, self.source_rows + fresh))
        rows = [next(places) if row is None else row for row in self.rows]
        return torch.cat([tensor, made]).index_select(0, torch.tensor(rows, device=tensor.device))

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """The rows back in the source's order.

        Rows that were not carried over come from `base`; rows of classes it does not have are left out.

        Raises:
            AdaptError: The source has rows that were not carried over, and there is no `base`.
        """
        places: list[int | None] = [None] * self.source_rows
        for new, old in enumerate(self.rows):
            if old is not None and places[old] is None:
                places[old] = new
        return _pick(f"undoing {self.describe()}", tensor, len(self.rows), tuple(places), base)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        return {
            "op": self.name,
            "rows": list(self.rows),
            "source_rows": self.source_rows,
            "mode": self.mode,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rows:
        """The inverse of `to_json`."""
        rows = tuple(None if row is None else int(row) for row in data["rows"])
        return cls(rows, int(data["source_rows"]), data.get("mode", "model"))


def _check_height(doing: str, tensor: torch.Tensor, height: int) -> None:
    if tensor.ndim < 1 or tensor.shape[0] != height:
        raise AdaptError(f"{doing}: a tensor of shape {list(tensor.shape)} has not {height} rows")


def _pick(
    doing: str, tensor: torch.Tensor, height: int, rows: tuple[int | None, ...], base: torch.Tensor | None
) -> torch.Tensor:
    import torch

    _check_height(doing, tensor, height)
    wanted = (len(rows), *tensor.shape[1:])
    pairs = [(new, old) for new, old in enumerate(rows) if old is not None]
    olds = torch.tensor([old for _, old in pairs], dtype=torch.long, device=tensor.device)
    if len(pairs) == len(rows):
        return tensor.index_select(0, olds)
    if base is None:
        raise AdaptError(
            f"{doing}: {len(rows) - len(pairs)} of {len(rows)} rows have nothing to take them from",
            hint="give the tensor that holds them as `base`",
        )
    if tuple(base.shape) != wanted:
        raise AdaptError(f"{doing}: the base has shape {list(base.shape)}, {list(wanted)} is needed")
    result = base.detach().to(
        device=tensor.device, dtype=torch.promote_types(tensor.dtype, base.dtype), copy=True
    )
    news = torch.tensor([new for new, _ in pairs], dtype=torch.long, device=tensor.device)
    return result.index_copy_(0, news, tensor.index_select(0, olds).to(result.dtype))
