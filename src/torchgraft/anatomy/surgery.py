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
from torchgraft.anatomy.checking import check_runs
from torchgraft.anatomy.configs import labels_in_config, name_classes
from torchgraft.anatomy.detection import check_background
from torchgraft.anatomy.edits import Edits
from torchgraft.anatomy.ends import Ends
from torchgraft.anatomy.folding import fold_normalisation
from torchgraft.anatomy.head_size import classes_of, resize_head
from torchgraft.anatomy.image_size import ImageSize, resize_images
from torchgraft.anatomy.mode_rules import ModeRules, plain
from torchgraft.anatomy.normalisation import renormalise
from torchgraft.anatomy.rollback import unchanged_on_error
from torchgraft.anatomy.stem_size import resize_stem
from torchgraft.anatomy.vocabulary_size import WantedVocabulary, with_known_tokens
from torchgraft.anatomy.wanted_normalisation import Normalisation
from torchgraft.errors import AdaptError
from torchgraft.labels import Labels, read_labels
from torchgraft.model_info import attach_info, info_of

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
    if normalisation is not None:
        first = ("model", "normalisation", "modes")
        rest = {name: value for name, value in locals().items() if name not in (*first, "first")}
        kept = {kind: mode for kind, mode in (modes or {}).items() if kind != "normalisation"}
        with unchanged_on_error(model):
            border = (modes or {}).get("normalisation", "exact")
            fold_normalisation(model, normalisation, mode=border, example=example, stem=stem)
            return adapt(model, modes=kept or None, **rest)
    if image_size is not None:
        first = ("model", "image_size", "example")
        rest = {name: value for name, value in locals().items() if name not in (*first, "first")}
        with unchanged_on_error(model):
            resized_example = resize_images(model, image_size, modes, example)
            return adapt(model, example=resized_example, **rest)
    labels = class_names(class_map, read_labels(labels) if labels is not None else None)
    wanted = _Wanted.checked(in_channels, num_classes, labels, class_map)
    check_background(model, labels, class_map)
    ends = Ends(model, example)
    info, step, edits = info_of(model), dict[str, Any](), Edits()
    rules = ModeRules.parse(modes, in_mode, dict(model.named_parameters(remove_duplicate=False)))

    known_tokens = WantedVocabulary(vocabulary, source_tokens, tokens, pad_to_multiple, tables)
    resized = known_tokens.change(model, ends, rules, edits)
    stems = ends.sites(stem, "stem") if wanted.in_channels is not None else ()
    if wanted.in_channels is not None and resize_stem(model, stems, wanted.in_channels, rules, edits):
        step |= {"in_channels": in_channels, "in_mode": plain(in_mode), "stem": [site.path for site in stems]}
        outside = renormalise(model, stems, wanted.in_channels, info.preprocessing, edits)
        info = replace(info, preprocessing=outside)

    heads = ends.sites(head, "head") if wanted.num_classes is not None or class_map is not None else ()
    if class_map is not None and wanted.num_classes is None:
        wanted = replace(wanted, num_classes=class_count(class_map, classes_of(model, heads)))
    if wanted.num_classes is not None:
        known = info.labels if info.labels is not None else labels_in_config(model)
        if resize_head(model, heads, wanted.num_classes, known, labels, class_map, rules, edits):
            step |= {"num_classes": wanted.num_classes, "head": [site.path for site in heads]}
            info = replace(info, labels=None)
        labels = labels if labels is not None else shifted_names(class_map, known)
        if labels is not None:
            info = replace(info, labels=tuple(labels))
            name_classes(model, labels, edits)

    if resized:
        info = replace(info, surgery=(*info.surgery, resized))
    if step:
        step |= {"modes": plain(modes)} if modes else {}
        info = replace(info, surgery=(*info.surgery, step))
    with edits.made():
        if (step or resized) and ends.seen is not None:
            seen = ends.seen
            if resized:
                seen = replace(seen, example=with_known_tokens(seen.example, resized["vocabulary"]))
            check_runs(model, seen, stems if "stem" in step else (), wanted.in_channels, wanted.num_classes)
    attach_info(model, info)
    _log.debug("adapted %s: %s", type(model).__name__, {**resized, **step} or "nothing to do")
    return model


@dataclass(frozen=True, slots=True)
class _Wanted:
    in_channels: int | None
    num_classes: int | None

    @classmethod
    def checked(
        cls,
        in_channels: int | None,
        num_classes: int | None,
        labels: Sequence[str] | None,
        class_map: ClassMap | None,
    ) -> _Wanted:
        for name, value in (("in_channels", in_channels), ("num_classes", num_classes)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise AdaptError(f"{name} must be a whole number of at least 1, not {value!r}")
        if labels is None and isinstance(class_map, Sequence) and not isinstance(class_map, str):
            if num_classes not in (None, len(class_map)):
                raise AdaptError(f"num_classes is {num_classes}, but class_map describes {len(class_map)}")
            return cls(in_channels, len(class_map))
        if labels is None:
            return cls(in_channels, num_classes)
        if num_classes is not None and num_classes != len(labels):
            raise AdaptError(
                f"num_classes is {num_classes}, but there are {len(labels)} labels",
                hint="leave num_classes out: the labels give it",
            )
        return cls(in_channels, len(labels))
