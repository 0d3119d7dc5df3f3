"""Ways of fine-tuning: one file each, and one line here."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from torchgraft.errors import TrainingError

if TYPE_CHECKING:
    from torchgraft.finetuning.job import Recipe

__all__ = ["RECIPES", "recipe_named"]

RECIPES: dict[str, str] = {
    "linear-probe": "torchgraft.finetuning.recipes.linear_probe:LinearProbe",
    "full": "torchgraft.finetuning.recipes.full:Full",
}
"""Name → `module:class`, imported when it is asked for."""


def recipe_named(name: str, options: dict[str, Any]) -> Recipe:
    """The recipe with these options.

    Raises:
        TrainingError: No such recipe or option; the message lists those there are.
    """
    if name not in RECIPES:
        raise TrainingError(f"there is no recipe {name!r}", hint=f"recipes: {', '.join(RECIPES)}")
    module, _, class_name = RECIPES[name].partition(":")
    recipe = getattr(import_module(module), class_name)
    known = [field.name for field in fields(recipe)]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise TrainingError(
            f"recipe {name!r} has no option {unknown[0]!r}",
            hint=f"options: {', '.join(known)}" if known else "it has no options of its own",
        )
    return cast("Recipe", recipe(**options))
