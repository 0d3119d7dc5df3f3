"""`examine`: where a model begins and ends."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchgraft.anatomy.detection import detector_in, with_blocks
from torchgraft.anatomy.example_inputs import guesses
from torchgraft.anatomy.input_layout import input_layout
from torchgraft.anatomy.not_classes import why_no_classes
from torchgraft.anatomy.placeholders import gives_features, placeholder_in
from torchgraft.anatomy.sites import Anatomy, Site, named_sites, site_at
from torchgraft.anatomy.tracing import Trace, run
from torchgraft.anatomy.training_heads import training_heads
from torchgraft.anatomy.unsharded import unsharded
from torchgraft.errors import AnatomyError

__all__ = ["Examined", "examine", "observe"]

_log = logging.getLogger(__name__)


def examine(
    model: nn.Module,
    *,
    example: object = None,
    stem: str | Sequence[str] | None = None,
    head: str | Sequence[str] | None = None,
) -> Anatomy:
    """Find a model's stems and heads by running it, whatever they are called.

    The model is run once in evaluation mode and left as it was; once more in training mode if a layer of the
    heads' size did not run. Where both `stem` and `head` are given it is
    not run.

    Args:
        model: Any module, on any device, meta included.
        example: An input it takes: a tensor, a tuple of arguments or a dict of keyword arguments.
            Guessed if not given.
        stem: Module paths, where you know better.
        head: The same for the heads.

    Raises:
        AnatomyError: The model takes none of the inputs tried, or has no such layer.
    """
    stems = named_sites(model, stem, "stem") if stem is not None else None
    heads = with_blocks(model, named_sites(model, head, "head")) if head is not None else None
    if stems is not None and heads is not None:
        return Anatomy(stems, heads)
    seen = observe(unsharded(model), example).anatomy
    return Anatomy(
        seen.stems if stems is None else stems,
        seen.heads if heads is None else heads,
        seen.notes,
        seen.placeholder,
    )


@dataclass(frozen=True, slots=True)
class Examined:
    """A run that worked: the input, what was recorded, what follows from it."""

    example: object
    trace: Trace
    anatomy: Anatomy


def observe(model: nn.Module, example: object = None) -> Examined:
    """Run the model on the example, or on guesses until it takes one.

    Raises:
        AnatomyError: It took none.
    """
    _check_runnable(model)
    detector = detector_in(model)
    if detector is not None:
        return Examined(example, *detector.watched(example))
    failures: dict[str, list[str]] = {}
    for attempt in [example] if example is not None else guesses(model):
        try:
            trace = run(model, attempt)
        except Exception as error:  # somebody else's model may raise anything
            _log.debug("input of shape %s was refused", shape_of(attempt), exc_info=True)
            failures.setdefault(_first_line(error), []).append(shape_of(attempt))
            continue
        anatomy = _read(model, trace, attempt)
        further = training_heads(model, attempt, trace, anatomy.heads)
        return Examined(attempt, trace, replace(anatomy, heads=(*anatomy.heads, *further)))
    tried = [f"{', '.join(shapes)}: {failure}" for failure, shapes in failures.items()]
    tried = tried or ["nothing: it has no convolution, Linear or embedding to guess from"]
    raise AnatomyError(
        "the model could not be run to find its first and last layers; tried"
        + "".join(f"\n    {line}" for line in tried),
        where=type(model).__name__,
        hint='pass an input that it takes, example=…, or name the layers, stem="…", head="…"',
    )


def shape_of(example: object) -> str:
    """The example's shapes, for a message."""
    if isinstance(example, torch.Tensor):
        return str(list(example.shape))
    if isinstance(example, dict):
        return "{" + ", ".join(f"{key}: {shape_of(value)}" for key, value in example.items()) + "}"
    if isinstance(example, tuple | list):
        return "(" + ", ".join(map(shape_of, example)) + ")"
    return repr(example)


def _check_runnable(model: nn.Module) -> None:
    where = type(model).__name__
    if isinstance(model, torch.jit.ScriptModule):
        raise AnatomyError(
            "a TorchScript module does not let its layers be watched",
            where=where,
            hint="use the Python model it was made from, and graft the script module's state dict",
        )
    weights = ((path, getattr(module, "weight", None)) for path, module in model.named_modules())
    packed = [path for path, weight in weights if callable(weight) and not isinstance(weight, nn.Module)]
    if packed:
        raise AnatomyError(
            f"{packed[0]} is quantised: its weights are packed as whole numbers, to scales that were "
            "measured on the layer as it is",
            where=where,
            hint="adapt the floating-point model, train it, and quantise that",
        )
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        raise AnatomyError(
            f"{lazy[0]} has no shape yet: it is a lazy layer's",
            where=where,
            hint="run the model once on an input",
        )
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise AnatomyError(
            "it was made in inference mode, where no layer can be told from what it depends on",
            where=where,
            hint="make the model outside of torch.inference_mode()",
        )


def _read(model: nn.Module, trace: Trace, example: object) -> Anatomy:
    notes = [f"an output depends on {name!r}, a parameter of no layer" for name in sorted(trace.loose)]
    stems = tuple(
        replace(site, layout=input_layout(model, example, site)) for site in _sites(model, trace.stems())
    )
    placeholder = placeholder_in(trace)
    heads = [] if trace.loose or gives_features(trace, placeholder) else trace.heads()
    if not heads and not notes and any(trace.outputs):
        notes.append("the outputs sum up layers at different depths: they are features, not classes")
    elif not heads and not notes:
        notes.append("the outputs depend on no layer: they are detached, or computed without gradients")
    heads = list(dict.fromkeys([*heads, *_auxiliary(model, trace, heads)]))
    if (why := why_no_classes(model, trace, _sites(model, heads))) is not None:
        heads, notes = [], [*notes, why]
    return Anatomy(stems, _sites(model, heads), tuple(notes), placeholder)


def _auxiliary(model: nn.Module, trace: Trace, heads: Sequence[str]) -> list[str]:
    """Layers that give as many classes as the heads do, for a loss that was not asked for."""
    sizes = {site.out_size for site in _sites(model, heads)}
    unread = _sites(model, [trace.paths[call] for call in trace.unread])
    return [site.path for site in unread if sizes == {site.out_size} and site.kind in ("conv", "linear")]


def _sites(model: nn.Module, paths: Sequence[str]) -> tuple[Site, ...]:
    return tuple(site_at(path, model.get_submodule(path)) for path in paths)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:200]}" if text else type(error).__name__
