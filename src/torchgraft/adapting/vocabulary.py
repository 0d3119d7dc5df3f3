"""The op that carries the rows of a table over tokens (embedding, language model's head) to another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, cast

from torchgraft.adapting.change import Change
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.row_map import RowMap
from torchgraft.adapting.token_rows import VocabularyMode, new_token_rows, normal_vocabulary_mode
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["Vocabulary"]

_Run: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Rows (first dimension) of a table over tokens `(tokens, …)`, picked by token or by number.

    With μ the mean of the source's rows that stand for tokens, and Σ their covariance, a row of a token that
    the source does not have is

    | mode | row |
    |---|---|
    | `mean-cov` | drawn from N(μ, 10⁻⁵ Σ), by a seed, computed on the processor: the same everywhere |
    | `mean` | μ |
    | `zeros` | 0 |
    | `own` | the model's own, `base` |
    | `prefix` | as `mean-cov`; and where the tokens are not known, rows may also be cut off |

    In a head, μ keeps the new tokens from taking the probability: the logit of each is the mean of the
    others' logits, so that the others' probabilities fall to no less than n/(n + k) of what they were, for n
    old and k new tokens. Zeros give the logit 0, which may be larger than all others.

    Rows beyond the tokens are padding (to a multiple that suits the hardware): the source's are carried on in
    their order so far as there is room, else dropped; further ones are filled like those of new tokens.

    Sources:
        J. Hewitt, Initializing New Word Embeddings for Pretrained Language Models (2021); transformers'
        `resize_token_embeddings(mean_resizing=True)`, which takes 10⁻⁹ Σ.

    Attributes:
        runs: Rows that are carried, as runs: the new place of the first, its old place, how many.
        source: Rows of the source.
        target: Rows of the result.
        mode: What the other rows are.
        tokens: How many of the source's rows, the first ones, stand for tokens: μ and Σ are theirs.
        by: Whether rows were paired by `"token"` or by `"number"`.
        seed: Of what is drawn.
    """

    name: ClassVar[str] = "vocabulary"

    runs: tuple[_Run, ...] = field(repr=False)
    source: int
    target: int
    mode: VocabularyMode = "mean-cov"
    tokens: int = 0
    by: Literal["token", "number"] = "number"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.tokens <= self.source or self.target < 1:
            raise AdaptError(f"{self.describe()}: {self.tokens} of {self.source} rows can't be of tokens")
        end = 0
        for new, old, count in self.runs:
            if new < end or count < 1 or old < 0 or old + count > self.source:
                raise AdaptError(f"there are no rows {old} to {old + count - 1} in {self.source}, or twice")
            end = new + count
        if end > self.target:
            raise AdaptError(f"{self.describe()}: a row goes to place {end - 1}")

    @classmethod
    def of(
        cls,
        rows: RowMap | None,
        source: int,
        target: int,
        *,
        mode: VocabularyMode = "mean-cov",
        seed: int = 0,
    ) -> Vocabulary:
        """The op between tables of so many rows; `rows` says which token is which, `None` that nobody knows.

        Raises:
            AdaptError: There are more tokens than rows, or rows would be cut off and nobody said so.
        """
        if rows is None:
            if target < source and mode != "prefix":
                raise AdaptError(
                    f"{target:,} tokens here, {source:,} in the checkpoint, and nobody knows which are left",
                    hint="give the tokens of both (source_tokens=…, tokens=…), or "
                    'modes={"vocabulary": "prefix"} if the first ones are the same',
                )
            kept = min(source, target)
            return cls(((0, 0, kept),), source, target, mode, source, "number", seed)
        if rows.source_rows > source or len(rows.rows) > target:
            raise AdaptError(
                f"{rows.source_rows:,} and {len(rows.rows):,} tokens don't fit tables of {source:,} and "
                f"{target:,} rows",
            )
        room = min(target - len(rows.rows), source - rows.source_rows)
        padding = range(rows.source_rows, rows.source_rows + room)
        runs = tuple(_runs([*rows.rows, *padding]))
        return cls(runs, source, target, mode, rows.source_rows, "token", seed)

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> Vocabulary | None:
        """The op for a table over tokens of another size, or whose tokens are known to be others."""
        if change.role != "vocabulary" or len(shape) != len(change.target) or not shape:
            return None
        if shape[1:] != change.target[1:] or (change.rows is None and shape[0] == change.target[0]):
            return None
        mode = normal_vocabulary_mode(change.mode(cls.name, "mean-cov"))
        op = cls.of(change.rows, shape[0], change.target[0], mode=mode)
        return None if op.identity else op

    @property
    def identity(self) -> bool:
        """Whether it changes nothing."""
        return self.source == self.target and self.runs == ((0, 0, self.source),)

    @property
    def needs_base(self) -> bool:
        """Whether some rows are the model's own."""
        return self.mode == "own" and self.carried < self.target

    @property
    def carried(self) -> int:
        """How many rows come from the source."""
        return sum(count for _, _, count in self.runs)

    def describe(self) -> str:
        """Such as `"vocabulary 30522→30530 by token, 30522 carried, 8 new by mean-cov"`."""
        new = self.target - self.carried
        text = f"vocabulary {self.source}→{self.target} by {self.by}, {self.carried} carried"
        filled = "mean-cov" if self.mode == "prefix" else self.mode
        return f"{text}, {new} new by {filled}" if new else text

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        text = "what is made of the carried tokens stays the same"
        if self.carried == self.target or self.mode not in ("zeros", "own"):
            return text
        return f"{text}; new ones in a head may outweigh them"

    def with_mode(self, mode: object) -> Vocabulary:
        """The same step in another mode."""
        return replace(self, mode=normal_vocabulary_mode(mode))

    def shape(self, source: Shape) -> Shape:
        """`(source, …)` → `(target, …)`."""
        return (self.target, *source[1:])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """The new table, in the source's dtype; with rows of the model's own, in the wider of both.

        Raises:
            AdaptError: A shape does not fit, or rows are the model's own and there is no `base`.
        """
        import torch

        self._check(self.describe(), tensor, self.source)
        if not self.needs_base:
            made = tensor.new_empty(self.shape(tuple(tensor.shape)))
        else:
            base = self._based(self.describe(), base, self.shape(tuple(tensor.shape)))
            dtype = torch.promote_types(tensor.dtype, base.dtype)
            made = base.detach().to(device=tensor.device, dtype=dtype, copy=True)
        rows = self.rows
        _copy(tensor, made, [(old, new) for new, old in enumerate(rows) if old is not None])
        empty = [new for new, old in enumerate(rows) if old is None]
        if empty and self.mode != "own":
            filling = new_token_rows(tensor[: self.tokens], len(empty), self.mode, self.seed)
            _copy(filling, made, list(enumerate(empty)))
        return made

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """The old table. Rows that were dropped come from `base`; those of new tokens are left out.

        Raises:
            AdaptError: Rows were dropped, and there is no `base`.
        """
        doing = f"undoing {self.describe()}"
        self._check(doing, tensor, self.target)
        shape = (self.source, *tensor.shape[1:])
        kept = {old: new for new, old in reversed(list(enumerate(self.rows))) if old is not None}
        if len(kept) == self.source:
            whole = tensor.new_empty(shape)
        else:
            whole = self._based(doing, base, shape).detach().to(tensor, copy=True)
        _copy(tensor, whole, [(new, old) for old, new in kept.items()])
        return whole

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        return {
            "op": self.name,
            "runs": [list(run) for run in self.runs],
            "source": self.source,
            "target": self.target,
            "mode": self.mode,
            "tokens": self.tokens,
            "by": self.by,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Vocabulary:
        """The inverse of `to_json`."""
        runs = tuple((int(new), int(old), int(count)) for new, old, count in data["runs"])
        mode = normal_vocabulary_mode(data["mode"])
        by = cast(Literal["token", "number"], {"token": "token", "number": "number"}[data["by"]])
        sizes = int(data["source"]), int(data["target"])
        return cls(runs, *sizes, mode, int(data["tokens"]), by, int(data["seed"]))

    @property
    def rows(self) -> tuple[int | None, ...]:
        """For each new row the source's, or `None`."""
        rows: list[int | None] = [None] * self.target
        for new, old, count in self.runs:
            rows[new : new + count] = range(old, old + count)
        return tuple(rows)

    @staticmethod
    def _check(doing: str, tensor: torch.Tensor, height: int) -> None:
        if tensor.ndim < 1 or tensor.shape[0] != height:
            raise AdaptError(f"{doing}: a tensor of shape {list(tensor.shape)} has not {height} rows")

    @staticmethod
    def _based(doing: str, base: torch.Tensor | None, shape: Sequence[int]) -> torch.Tensor:
        if base is None:
            raise AdaptError(
                f"{doing}: some rows have nothing to take them from",
                hint="give the tensor that holds them as `base`",
            )
        if tuple(base.shape) != tuple(shape):
            raise AdaptError(f"{doing}: the base has shape {list(base.shape)}, {list(shape)} is needed")
        return base


def _copy(source: torch.Tensor, target: torch.Tensor, rows: Sequence[tuple[int, int]]) -> None:
    """Copy rows `(from, to)`, in bulk."""
    import torch

    if not rows or target.is_meta:
        return
    take, put = torch.tensor(rows, dtype=torch.long, device=source.device).unbind(dim=1)
    target.index_copy_(0, put.to(target.device), source.index_select(0, take).to(target.dtype))


def _runs(rows: Sequence[int | None]) -> Iterator[_Run]:
    start = 0
    for place in range(1, len(rows) + 1):
        first, last = rows[start], rows[place - 1]
        following = rows[place] if place < len(rows) else None
        if first is not None and last is not None and following != last + 1:
            yield start, first, place - start
        if following is None or last is None or following != last + 1:
            start = place
