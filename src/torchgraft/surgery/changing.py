"""`adapt`: another number of input channels or classes, in the model as it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchgraft.adapting import ClassMap, class_count, class_names
from torchgraft.adapting.class_map import shifted_names
from torchgraft.anatomy.configs import labels_in_config
from torchgraft.anatomy.detection import check_background
from torchgraft.anatomy.mode_rules import ModeRules, plain
from torchgraft.anatomy.sites import Site
from torchgraft.anatomy.unsharded import check_whole
from torchgraft.errors import AdaptError
from torchgraft.labels import Labels, read_labels
from torchgraft.model_info import attach_info, info_of
from torchgraft.surgery.checking import check_runs
from torchgraft.surgery.config_classes import name_classes
from torchgraft.surgery.edits import Edits
from torchgraft.surgery.ends import Ends
from torchgraft.surgery.folding import fold_normalisation
from torchgraft.surgery.head_size import classes_of, resize_head
from torchgraft.surgery.image_size import ImageSize, resize_images
from torchgraft.surgery.normalisation import renormalise
from torchgraft.surgery.rollback import unchanged_on_error
from torchgraft.surgery.stem_size import resize_stem
from torchgraft.surgery.vocabulary_size import WantedVocabulary, with_known_tokens
from torchgraft.surgery.wanted_normalisation import Normalisation

if TYPE_CHECKING:
    from torchgraft.adapting import InMode
    from torchgraft.tokens import Tokens

__all__ = ["adapt"]

_log = logging.getLogger(__name__)


@torch.inference_mode(mode=False)  # parameters made in inference mode could never be trained
def adapt(
    model: nn.Module,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    labels: Labels | None = None,
    class_map: ClassMap | None = None,
    vocabulary: int | None = None,
    source_tokens: Tokens | None = None,
    tokens: Tokens | None = None,
    pad_to_multiple: int | None = None,
    image_size: ImageSize | None = None,
    in_mode: InMode = "repeat",
    normalisation: Normalisation | None = None,
    modes: Mapping[str, object] | None = None,
    example: object = None,
    stem: str | Sequence[str] | None = None,
    head: str | Sequence[str] | None = None,
    tables: str | Sequence[str] | None = None,
) -> nn.Module:
    """Give a model other input channels, classes or tokens, in place; weights with a meaning are kept.

    No layer is replaced or renamed: the same modules get new parameters, so an optimizer must be made
    afterwards. Which layers these are is found by running the model, and the changed model is run once
    more before the change is kept. On an error the model is untouched. A model of features that keeps an
    `nn.Identity` where its head would be gets a `Linear` there.

    The head's rows are carried over by class name where the model knows its labels (`info_of`) and new
    ones are given. A head that already has as many rows and was never labelled takes the labels as they
    are. All other rows are initialised as the layer's class does.

    Args:
        model: Any module, on any device, meta included.
        in_channels: Input channels wanted.
        num_classes: Classes wanted; the number of `labels` if these are given.
        labels: Their names, in order, or a file of them (see `torchgraft.read_labels`).
        class_map: Which old class each new one is, where their names do not tell: by new name, such as
            `{"cat": [281, 282], "dog": "beagle", "emu": None}`, or one entry a new class; an old class's
            index or name, several that the new one stands for, or `None`. `"with-background"` puts a new
            class before the old ones, `"without-background"` leaves the first one out.
        vocabulary: How many tokens the embedding, and a head that scores tokens, shall know. The first rows
            are kept, unless `tokens` say which is which.
        source_tokens: The tokens that the model knows now: a list in the order of their rows, a mapping to
            these, a tokenizer, or the path of its file; see `torchgraft.plan`.
        tokens: The tokens wanted, likewise; their number is the vocabulary's.
        pad_to_multiple: Make the tables' rows a multiple of this; further ones stand for no token.
        image_size: The side, or height and width, of the images that it shall take. Tables of positions are
            resampled; a model without any is only checked to run, and remembers the size.
        in_mode: How new input channels get their weights: `"repeat"`, `"mean"`, `"sum"`, `"zeros"` or a
            map such as `[0, 1, 2, "mean"]`; see `torchgraft.adapting.InputChannels`.
        normalisation: What images are to be normalised by from now on: `"0..1"` (not at all), `"0..255"`,
            `"-1..1"`, `"imagenet"` or `(mean, std)`. What they are normalised by now is the model's
            preprocessing, or `{"from": …, "to": …}` says it. It is folded into the stem: exactly, or refused
            unless `modes={"normalisation": "approximate"}`, where zeros that it pads with would differ.
        modes: The same for every kind of step that has modes, or for single tensors, by name, path or
            pattern: `{"rows": "mean", "conv1.weight": "zeros"}`.
        example: An input the model takes as it is now: a tensor, a tuple of arguments or a dict of keyword
            arguments. Guessed if not given.
        stem: Paths of the layers that see the input, where you know better.
        head: Paths of the layers that give the classes.
        tables: Paths of the tables over tokens, where you know better.

    Returns:
        The same model.

    Raises:
        AnatomyError: Stem or head can't be told.
        AdaptError: They can't be changed as wanted.
    """
    check_whole(model)
    with unchanged_on_error(model):
        if image_size is not None:
            example = resize_images(model, image_size, modes, example)
        if normalisation is not None:
            border = (modes or {}).get("normalisation", "exact")
            fold_normalisation(model, normalisation, mode=border, example=example, stem=stem)
            modes = {kind: mode for kind, mode in (modes or {}).items() if kind != "normalisation"}
        _change_ends(
            model,
            _Wanted.checked(in_channels, num_classes, labels, class_map),
            WantedVocabulary(vocabulary, source_tokens, tokens, pad_to_multiple, tables),
            in_mode,
            modes,
            Ends(model, example, stem=stem, head=head),
        )
    return model


def _change_ends(
    model: nn.Module,
    wanted: _Wanted,
    tokens: WantedVocabulary,
    in_mode: InMode,
    modes: Mapping[str, object] | None,
    ends: Ends,
) -> None:
    """Change stems, heads and tables over tokens together: one run shows where they are, another checks."""
    info, edits = info_of(model), Edits()
    rules = ModeRules.parse(modes, in_mode, dict(model.named_parameters(remove_duplicate=False)))
    step: dict[str, Any] = {}
    check_background(model, wanted.labels, wanted.class_map)

    resized = tokens.change(model, ends, rules, edits)
    stems = ends.sites("stem") if wanted.in_channels is not None else ()
    if wanted.in_channels is not None and resize_stem(model, stems, wanted.in_channels, rules, edits):
        step |= {"in_channels": wanted.in_channels, "in_mode": plain(in_mode), "stem": _paths(stems)}
        outside = renormalise(model, stems, wanted.in_channels, info.preprocessing, edits)
        info = replace(info, preprocessing=outside)

    heads = ends.sites("head") if wanted.about_classes else ()
    wanted = wanted.counted(model, heads)
    if wanted.num_classes is not None:
        known = info.labels if info.labels is not None else labels_in_config(model)
        if resize_head(
            model, heads, wanted.num_classes, known, wanted.labels, wanted.class_map, rules, edits
        ):
            step |= {"num_classes": wanted.num_classes, "head": _paths(heads)}
            info = replace(info, labels=None)
        labels = wanted.labels if wanted.labels is not None else shifted_names(wanted.class_map, known)
        if labels is not None:
            info = replace(info, labels=tuple(labels))
            name_classes(model, labels, edits)

    if step and modes:
        step["modes"] = plain(modes)
    info = replace(info, surgery=(*info.surgery, *filter(None, (resized, step))))
    with edits.made():
        if (step or resized) and ends.seen is not None:
            seen = ends.seen
            if resized:
                seen = replace(seen, example=with_known_tokens(seen.example, resized["vocabulary"]))
            check_runs(model, seen, stems if "stem" in step else (), wanted.in_channels, wanted.num_classes)
    attach_info(model, info)
    _log.debug("adapted %s: %s", type(model).__name__, {**resized, **step} or "nothing to do")


def _paths(sites: Sequence[Site]) -> list[str]:
    return [site.path for site in sites]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The arguments of `adapt` that concern channels and classes."""

    in_channels: int | None
    num_classes: int | None
    labels: Sequence[str] | None
    class_map: ClassMap | None

    @classmethod
    def checked(
        cls,
        in_channels: int | None,
        num_classes: int | None,
        labels: Labels | None,
        class_map: ClassMap | None,
    ) -> _Wanted:
        names = class_names(class_map, read_labels(labels) if labels is not None else None)
        for name, value in (("in_channels", in_channels), ("num_classes", num_classes)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise AdaptError(f"{name} must be a whole number of at least 1, not {value!r}")
        count, what = num_classes, ""
        if names is not None:
            count, what = len(names), f"there are {len(names)} labels"
        elif isinstance(class_map, Sequence) and not isinstance(class_map, str):
            count, what = len(class_map), f"class_map describes {len(class_map)}"
        if num_classes not in (None, count):
            raise AdaptError(
                f"num_classes is {num_classes}, but {what}", hint="leave num_classes out: they give it"
            )
        return cls(in_channels, count, names, class_map)

    @property
    def about_classes(self) -> bool:
        """Whether the head is concerned."""
        return self.num_classes is not None or self.class_map is not None

    def counted(self, model: nn.Module, heads: Sequence[Site]) -> _Wanted:
        """The same; where a class map alone says how many classes there are, with their number."""
        if self.class_map is None or self.num_classes is not None:
            return self
        return replace(self, num_classes=class_count(self.class_map, classes_of(model, heads)))
