"""Ways of fine-tuning: one file each, and one line here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from torchgraft.errors import TrainingError
from torchgraft.finetuning.fitting.options import Fitting

if TYPE_CHECKING:
    from torchgraft.finetuning.job import Recipe

__all__ = ["RECIPES", "own_options", "recipe_name", "recipe_named"]

_HERE = "torchgraft.finetuning.recipes"

RECIPES: dict[str, str] = {
    "linear-probe": f"{_HERE}.linear_probe:LinearProbe",
    "full": f"{_HERE}.full:Full",
    "lp-ft": f"{_HERE}.lp_ft:LpFt",
    "layerwise": f"{_HERE}.layerwise:Layerwise",
    "gradual": f"{_HERE}.gradual:Gradual",
    "l2-sp": f"{_HERE}.l2_sp:L2SP",
    "bitfit": f"{_HERE}.bitfit:BitFit",
    "norms": f"{_HERE}.norms:Norms",
    "lora": f"{_HERE}.lora:Lora",
}
"""Name → `module:class`, imported when it is asked for."""


def recipe_named(recipe: str | Recipe, options: dict[str, Any]) -> tuple[Recipe, Fitting]:
    """The recipe with its own of these options, and the training loop's with the others.

    Args:
        recipe: A name in `RECIPES`, `module:Class`, or a recipe, which has its own options already.
        options: By name.

    Raises:
        TrainingError: No such recipe or option, or one that the recipe can't use; the message lists
            those there are.
    """
    kind: Any = _class_of(recipe) if isinstance(recipe, str) else type(recipe)
    name = recipe_name(recipe)
    own = own_options(recipe)
    loop = [field.name for field in fields(Fitting)]
    used = getattr(kind if isinstance(recipe, str) else recipe, "loop_options", None)
    usable = [*own, *(option for option in loop if used is None or option in used)]
    for option in options:
        if option in usable:
            continue
        can_not = option in loop
        raise TrainingError(
            f"recipe {name!r} can't use the option {option!r}"
            if can_not
            else f"recipe {name!r} has no option {option!r}",
            hint=f"{_meant(option, usable)}options: {', '.join(usable) or 'none'}",
        )
    chosen = recipe
    if isinstance(recipe, str):
        chosen = kind(**{key: value for key, value in options.items() if key in own})
    rest = {key: value for key, value in options.items() if key not in own}
    return cast("Recipe", chosen), Fitting(**rest)


def own_options(recipe: str | Recipe) -> list[str]:
    """The names of the recipe's options; a recipe that was made already has none left to choose."""
    if not isinstance(recipe, str):
        return []
    kind = _class_of(recipe)
    return [field.name for field in fields(kind)] if is_dataclass(kind) else []


def recipe_name(recipe: str | Recipe) -> str:
    """As it is listed; its own `name`, if it has one; or that of its class."""
    if isinstance(recipe, str):
        return recipe
    kind = type(recipe)
    known = {place: name for name, place in RECIPES.items()}
    listed = known.get(f"{kind.__module__}:{kind.__qualname__}")
    return listed or str(getattr(recipe, "name", kind.__name__))


def _meant(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def _class_of(name: str) -> Any:
    place = RECIPES.get(name, name if ":" in name else None)
    if place is None:
        raise TrainingError(
            f"there is no recipe {name!r}",
            hint=f"{_meant(name, RECIPES)}recipes: {', '.join(RECIPES)}; or module:Class",
        )
    module, _, class_name = place.partition(":")
    try:
        found = getattr(import_module(module), class_name)
    except (ImportError, AttributeError) as error:
        if name in RECIPES:
            raise
        raise TrainingError(f"the recipe {name!r} can't be imported: {error}") from error
    if not (isinstance(found, type) and hasattr(found, "train")):
        raise TrainingError(f"{name!r} is no recipe: a class with a method train(job)")
    return found
