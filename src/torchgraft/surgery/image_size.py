"""Another image size, in the model as it is: positions are resampled, the rest follows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import nn

from torchgraft.adapting import Change, find_ops
from torchgraft.adapting.places import Grid, Line, PositionPlace, Window, WindowPlace
from torchgraft.adapting.position_layout import layout_of, with_grid
from torchgraft.adapting.sine_positions import sine_formula
from torchgraft.anatomy.detection import detector_in
from torchgraft.anatomy.examining import observe
from torchgraft.anatomy.example_inputs import floating_input, reshaped
from torchgraft.anatomy.image_attributes import size_of
from torchgraft.anatomy.mode_rules import ModeRules, plain
from torchgraft.anatomy.positions import PositionTable, position_tables
from torchgraft.anatomy.tracing import run
from torchgraft.errors import AdaptError
from torchgraft.model_info import attach_info, info_of
from torchgraft.surgery.edits import Edits
from torchgraft.surgery.image_mirrors import mirror_grid, mirror_image_size, mirror_window

__all__ = ["ImageSize", "resize_images"]

ImageSize: TypeAlias = int | Sequence[int]
"""A side, or height and width, in pixels."""


def resize_images(
    model: nn.Module, image_size: object, modes: Mapping[str, object] | None, example: object
) -> object:
    """Give the model another image size, in place; weights are kept, what it remembers follows.

    The caller takes everything back on an error; see `unchanged_on_error`.

    Args:
        model: Any module that takes images.
        image_size: The size wanted: a number, or height and width.
        modes: How positions are resampled, as `adapt` takes it.
        example: An input that the model takes as it is now; guessed if not given.

    Returns:
        An input of the new size.

    Raises:
        AnatomyError: The model takes no input that was tried.
        AdaptError: It does not take images, or not of this size.
    """
    new = _checked(image_size)
    if detector_in(model) is not None:
        raise AdaptError(
            "a detector brings images to its own size",
            where=type(model).__name__,
            hint="build it with other min_size= and max_size=",
        )
    seen = observe(model, example)
    image = floating_input(seen.example)
    if image is None or image.ndim not in (4, 5):
        raise AdaptError("it takes no image, so it has no image size", where=type(model).__name__)
    old = (int(image.shape[-2]), int(image.shape[-1]))
    wanted = reshaped(reshaped(seen.example, image.ndim - 2, new[0]), image.ndim - 1, new[1])
    if old != new:
        rules = ModeRules.parse(modes, None, dict(model.state_dict(keep_vars=True)))
        tables = position_tables(model, seen.example)
        if _resizes_itself(model):
            _by_itself(model, new, wanted, tables, rules)
        else:
            _from_outside(model, old, new, tables, rules)
        _check(model, wanted, seen.trace.output_shapes, new)
    _remember(model, new, modes)
    return wanted


def _by_itself(
    model: Any, new: tuple[int, int], wanted: object, tables: Mapping[str, PositionTable], rules: ModeRules
) -> None:
    """A model that knows how; its tables are then made anew from the old ones, in the mode asked for."""
    before = {name: _tensor(model, name) for name in tables}
    try:
        model.set_input_size(img_size=new)
    except Exception as error:  # somebody else's model may raise anything
        raise AdaptError(
            f"the model's own set_input_size refuses {_shown(new)}: {error}", where=type(model).__name__
        ) from error
    after = position_tables(model, wanted)
    for name, table in tables.items():
        if name in after and after[name].place != table.place:
            _replace(model, table, after[name].place, rules, before[name])


def _from_outside(
    model: nn.Module,
    old: tuple[int, int],
    new: tuple[int, int],
    tables: Mapping[str, PositionTable],
    rules: ModeRules,
) -> None:
    """A model that does not: its tables are resampled, and what names the old size names the new one."""
    grids: dict[Grid, Grid] = {}
    for table in tables.values():
        place = table.place
        if isinstance(place, Grid):
            rows, columns = _scaled((place.rows, place.columns), old, new, model)
            grids[place] = Grid(rows, columns, place.prefix, place.suffix)
            _replace(model, table, grids[place], rules, _tensor(model, table.name))
        elif isinstance(place, Window) and place.extra:  # with a class token it is the whole image
            rows, columns = _scaled((place.rows, place.columns), old, new, model)
            window = Window(rows, columns, place.extra)
            _replace(model, table, window, rules, _tensor(model, table.name))
            mirror_window(model.get_submodule(table.name.rpartition(".")[0]), place, window)
            grids[Grid(place.rows, place.columns, 1)] = Grid(rows, columns, 1)
    for before, after in grids.items():
        mirror_grid(model, before, after)
    mirror_image_size(model, old, new)


def _replace(
    model: nn.Module,
    table: PositionTable,
    target: Grid | Line | Window,
    rules: ModeRules,
    source: torch.Tensor,
) -> None:
    """Put the table that `source` is into the model, for another place."""
    path, _, attribute = table.name.rpartition(".")
    shape, place = tuple(source.shape), table.place
    if isinstance(place, Window) and isinstance(target, Window):
        wanted = (target.entries, shape[1]) if len(shape) == 2 else (shape[0], *target.offsets)
        change = Change(
            shape, wanted, "relative-position", rules.of(table.name), place=WindowPlace(target, place)
        )
    else:
        assert isinstance(place, Grid)
        assert isinstance(target, Grid)
        layout = layout_of(shape, place)
        if layout is None:
            raise AdaptError(
                f"a table of shape {list(shape)} does not hold the positions {place}", where=table.name
            )
        formula = None if source.is_meta else sine_formula(source.detach(), (place,))
        known = PositionPlace(target, place, sines=formula)
        change = Change(
            shape, with_grid(shape, layout, target), "position", rules.of(table.name), place=known
        )
    value = source.detach()
    for op in find_ops(change):
        value = op.apply(value)
    edits, owner = Edits(), model.get_submodule(path)
    if isinstance(source, nn.Parameter):
        edits.parameter(owner, attribute, value)
    else:
        edits.attribute(owner, attribute, value.contiguous())
    with edits.made():
        pass


def _scaled(
    sides: tuple[int, int], old: tuple[int, int], new: tuple[int, int], model: nn.Module
) -> tuple[int, int]:
    """How many patches the new size has, from how many the old one had."""
    where = type(model).__name__
    if any(was % count for was, count in zip(old, sides, strict=True)):
        raise AdaptError(
            f"{_shown(sides)} positions are no even part of the {_shown(old)} pixels it takes, so how "
            "many another size has can't be told",
            where=where,
            hint="build it for that size, and graft the weights: torchgraft.graft(new_model, model)",
        )
    patch = (old[0] // sides[0], old[1] // sides[1])
    for size, step in zip(new, patch, strict=True):
        if size % step:
            near = max(step, size // step * step)
            raise AdaptError(
                f"patches of {_shown(patch)} pixels don't fill an image of {_shown(new)}",
                where=where,
                hint=f"give a multiple of {step}, such as {near} or {size // step * step + step}",
            )
    return new[0] // patch[0], new[1] // patch[1]


def _check(model: nn.Module, wanted: object, before: Sequence[tuple[int, ...]], new: tuple[int, int]) -> None:
    """Run the changed model on an image of the new size.

    Raises:
        AdaptError: It fails, or gives other scores than before.
    """
    where = type(model).__name__
    try:
        shapes = run(model, wanted).output_shapes
    except Exception as error:  # somebody else's model may raise anything
        raise AdaptError(
            f"it can't take images of {_shown(new)}: a layer is made for the size it has now "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            where=where,
            hint="if its builder takes a size, build it anew and graft: torchgraft.graft(new, model); "
            "layers that mix positions by trained weights (MLP-Mixer, ResMLP) can't change theirs",
        ) from error
    if len(before[0]) == 2 and shapes[0] != before[0]:
        raise AdaptError(
            f"with images of {_shown(new)} it gives {list(shapes[0])}, where it gave {list(before[0])}",
            where=where,
        )


def _remember(model: nn.Module, new: tuple[int, int], modes: Mapping[str, object] | None) -> None:
    """In the model's info: the step, so that it can be repeated, and what images are to be brought to."""
    info = info_of(model)
    step: dict[str, Any] = {"image_size": list(new)}
    if modes:
        step["modes"] = plain(modes)
    preprocessing = info.preprocessing
    if preprocessing is not None:
        preprocessing = replace(preprocessing, size=new)
    attach_info(model, replace(info, surgery=(*info.surgery, step), preprocessing=preprocessing))
    traits = getattr(model, "_traits", None)  # where timm keeps a model's nominal size
    if isinstance(traits, dict) and "img_size" in traits:
        vars(model)["_traits"] = {**traits, "img_size": new}


def _tensor(model: nn.Module, name: str) -> torch.Tensor:
    path, _, attribute = name.rpartition(".")
    tensor = getattr(model.get_submodule(path), attribute)
    assert isinstance(tensor, torch.Tensor)
    return tensor


def _resizes_itself(model: nn.Module) -> bool:
    """Whether it has timm's method for it."""
    method = getattr(model, "set_input_size", None)
    return callable(method) and "img_size" in inspect.signature(method).parameters


def _checked(size: object) -> tuple[int, int]:
    pair = size_of(size)
    if pair is None:
        raise AdaptError(f"image_size must be a side, or height and width, in pixels, not {size!r}")
    return pair


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
