"""`adapt`: another number of input channels or classes, in the model as it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchgraft.anatomy.checking import check_runs
from torchgraft.anatomy.edits import Edits
from torchgraft.anatomy.examining import Examined, observe
from torchgraft.anatomy.head_size import resize_head
from torchgraft.anatomy.sites import Site, named_sites
from torchgraft.anatomy.stem_size import resize_stem
from torchgraft.errors import AdaptError, AnatomyError
from torchgraft.model_info import attach_info, info_of

if TYPE_CHECKING:
    from torchgraft.adapting import InMode

__all__ = ["adapt"]

_log = logging.getLogger(__name__)


@torch.inference_mode(mode=False)  # parameters made in inference mode could never be trained
def adapt(
    model: nn.Module,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    in_mode: InMode = "repeat",
    example: object = None,
    stem: str | Sequence[str] | None = None,
    head: str | Sequence[str] | None = None,
) -> nn.Module:
    """Give a model other input channels or classes, in place; weights are kept where they have a meaning.

    No layer is replaced or renamed: the same modules get new parameters, so an optimizer must be made
    afterwards. Which layers these are is found by running the model, and the changed model is run once
    more before the change is kept. On an error the model is untouched.

    The head's rows are carried over by class name where the model knows its labels (`info_of`) and new
    ones are given. A head that already has as many rows and was never labelled takes the labels as they
    are. All other rows are initialised as the layer's class does.

    Args:
        model: Any module, on any device, meta included.
        in_channels: Input channels wanted.
        num_classes: Classes wanted; the number of `labels` if these are given.
        labels: Their names, in order.
        in_mode: How new input channels get their weights: `"repeat"`, `"mean"`, `"sum"`, `"zeros"` or a
            map such as `[0, 1, 2, "mean"]`; see `torchgraft.adapting.InputChannels`.
        example: An input the model takes as it is now: a tensor, a tuple of arguments or a dict of keyword
            arguments. Guessed if not given.
        stem: Paths of the layers that see the input, where you know better.
        head: Paths of the layers that give the classes.

    Returns:
        The same model.

    Raises:
        AnatomyError: Stem or head can't be told.
        AdaptError: They can't be changed as wanted.
    """
    wanted = _Wanted.checked(in_channels, num_classes, labels)
    ends = _Ends(model, example)
    info, step, edits = info_of(model), dict[str, Any](), Edits()

    stems = ends.sites(stem, "stem") if wanted.in_channels is not None else ()
    if wanted.in_channels is not None and resize_stem(model, stems, wanted.in_channels, in_mode, edits):
        plain_mode = in_mode if isinstance(in_mode, str) else list(in_mode)
        step |= {"in_channels": in_channels, "in_mode": plain_mode, "stem": [site.path for site in stems]}
        if info.preprocessing is not None:
            info = replace(info, preprocessing=info.preprocessing.with_channels(wanted.in_channels))

    heads = ends.sites(head, "head") if wanted.num_classes is not None else ()
    if wanted.num_classes is not None:
        if resize_head(model, heads, wanted.num_classes, info.labels, labels, edits):
            step |= {"num_classes": wanted.num_classes, "head": [site.path for site in heads]}
            info = replace(info, labels=None)
        if labels is not None:
            info = replace(info, labels=tuple(labels))

    if step:
        info = replace(info, surgery=(*info.surgery, step))
    with edits.made():
        if step and ends.seen is not None:
            check_runs(
                model, ends.seen, stems if "stem" in step else (), wanted.in_channels, wanted.num_classes
            )
    attach_info(model, info)
    _log.debug("adapted %s: %s", type(model).__name__, step or "nothing to do")
    return model


@dataclass(frozen=True, slots=True)
class _Wanted:
    in_channels: int | None
    num_classes: int | None

    @classmethod
    def checked(
        cls, in_channels: int | None, num_classes: int | None, labels: Sequence[str] | None
    ) -> _Wanted:
        for name, value in (("in_channels", in_channels), ("num_classes", num_classes)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise AdaptError(f"{name} must be a whole number of at least 1, not {value!r}")
        if labels is None:
            return cls(in_channels, num_classes)
        if isinstance(labels, str) or not labels:
            raise AdaptError(f"labels must be a list of class names, not {labels!r}")
        if num_classes is not None and num_classes != len(labels):
            raise AdaptError(
                f"num_classes is {num_classes}, but there are {len(labels)} labels",
                hint="leave num_classes out: the labels give it",
            )
        return cls(in_channels, len(labels))


class _Ends:
    """Finds stems and heads, running the model only if one that is needed was not named."""

    def __init__(self, model: nn.Module, example: object) -> None:
        self._model = model
        self._example = example
        self.seen: Examined | None = None

    def sites(self, named: str | Sequence[str] | None, role: str) -> tuple[Site, ...]:
        if named is not None:
            return named_sites(self._model, named, role)
        if self.seen is None:
            self.seen = observe(self._model, self._example)
        anatomy = self.seen.anatomy
        found = anatomy.stems if role == "stem" else anatomy.heads
        if not found:
            why = f" ({'; '.join(anatomy.notes)})" if anatomy.notes else ""
            raise AnatomyError(
                f"the model has no {role} that could be told{why}",
                where=type(self._model).__name__,
                hint=f'name the layer: {role}="…"',
            )
        return found
