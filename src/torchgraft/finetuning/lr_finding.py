"""`find_lr`: a learning rate for a model and some images, from a short trial (Smith 2015)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torchgraft.errors import TrainingError
from torchgraft.finetuning.images.sources import Data
from torchgraft.finetuning.recipes import own_options, recipe_name, recipe_named
from torchgraft.finetuning.running import finetune

if TYPE_CHECKING:
    from torch import nn

    from torchgraft.finetuning.fitting.lr_sweep import Sweep
    from torchgraft.finetuning.group_table import GroupRow
    from torchgraft.finetuning.job import Job, Recipe, Trained

__all__ = ["LrCurve", "find_lr"]


@dataclass(frozen=True, slots=True)
class LrCurve:
    """Losses at learning rates that grew from step to step.

    Attributes:
        lrs: The rate of each step.
        losses: The loss before each step.
        smoothed: A moving average of them.
        suggestion: A tenth of the rate where the smoothed loss was lowest, the first tenth of steps apart.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float

    def to_json(self) -> dict[str, Any]:
        """Plain data, for a curve in a report."""
        return {
            "lrs": list(self.lrs),
            "losses": list(self.losses),
            "smoothed": list(self.smoothed),
            "suggestion": self.suggestion,
        }


def find_lr(
    model: nn.Module,
    data: Data,
    *,
    recipe: str | Recipe = "full",
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
    **arguments: Any,
) -> LrCurve:
    """Try learning rates on a copy of the model; the model itself stays as it is.

    Each step's rate is the one before times the same factor, until the loss runs away. What the recipe
    trains faster or slower than the rest, such as the head, it does here too.

    Args:
        model: The one to be fine-tuned.
        data: As for `finetune`.
        recipe: Likewise; one that trains by gradient. Of one with several phases the first such is tried.
        steps: How many, each on a batch.
        lowest: The first rate.
        highest: The last.
        **arguments: Others of `finetune`, such as `batch_size` and `head_lr`.

    Raises:
        TrainingError: The recipe has no learning rate, or an argument makes no sense.
    """
    if not 0 < lowest < highest or steps < 2:
        raise TrainingError(f"lowest={lowest!r}, highest={highest!r}, steps={steps!r} make no sense")
    own = own_options(recipe)
    chosen, _ = recipe_named(recipe, {name: value for name, value in arguments.items() if name in own})
    from torchgraft.finetuning.fitting.lr_sweep import Sweep, SweptError, smoothed

    trial = _Trial(chosen, recipe_name(recipe), Sweep(steps, lowest, highest))
    rest = {name: value for name, value in arguments.items() if name not in own}
    try:
        finetune(copy.deepcopy(model), data, recipe=trial, **rest)
    except SweptError as swept:
        line = smoothed(swept.losses)
        # the first averages are of a batch or two, and low by chance
        lowest_at = min(range(len(line) // 10, len(line)), key=line.__getitem__)
        lr = swept.lrs[lowest_at]
        return LrCurve(tuple(swept.lrs), tuple(swept.losses), tuple(line), lr / 10)
    raise TrainingError(
        f"recipe {recipe_name(recipe)!r} does not train this model by gradient, so it has no learning rate",
        hint='recipe="full"',
    )


class _Trial:
    """A recipe that trains only to see what learning rates do."""

    def __init__(self, recipe: Recipe, name: str, sweep: Sweep) -> None:
        self.recipe = recipe
        self.name = name
        self.sweep = sweep
        self.loop_options: tuple[str, ...] | None = getattr(recipe, "loop_options", None)

    def train(self, job: Job) -> Trained:
        return self.recipe.train(replace(job, sweep=self.sweep))

    def groups(self, job: Job) -> tuple[GroupRow, ...]:
        return self.recipe.groups(job)
