"""One model is adapted and run: what the sweeps over timm, torchvision and transformers have in common."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import nn

from torchgraft import adapt, info_of

__all__ = ["CHANNELS", "CLASSES", "MIRRORS", "Tried", "built_on", "floating", "try_model"]

CHANNELS, CLASSES = 4, 21
MIRRORS = {"num_classes": CLASSES, "num_labels": CLASSES, "in_chans": CHANNELS}


@dataclass(frozen=True)
class Tried:
    """What came of a model.

    Attributes:
        stage: Where it ended: `"build"`, `"adapt"`, `"forward"`, `"output"`, `"backward"`, `"gradient"`,
            `"mirror"`, `"others"` (a tensor changed that is no stem's or head's), `"oracle"`, or `"passed"`.
        reason: What was wrong there; empty if it passed.
        seconds: How long all of it took.
        stems: Paths of the layers that were given other input channels.
        heads: Paths of those that were given other classes.
    """

    stage: str
    reason: str = ""
    seconds: float = 0.0
    stems: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.stage == "passed"


class _WrongError(Exception):
    """A check failed; no bug of the model's or of ours was raised."""


def try_model(
    build: Callable[[], nn.Module],
    feed: Callable[[nn.Module], Any],
    *,
    device: str = "meta",
    train: bool = True,
    adapting: Mapping[str, Any] | None = None,
    fits: Callable[[Any], str | None] | None = None,
    mirrors: Mapping[str, int] = MIRRORS,
    oracle: Callable[[nn.Module], str | None] | None = None,
    changed: Sequence[str] = (),
) -> Tried:
    """Build, adapt to 4 channels and 21 classes, run, differentiate, and look at what changed.

    Args:
        build: Gives the model; called under the device, so that on `"meta"` nothing is computed.
        feed: From the adapted model to what it is called with: a tensor, a tuple or a dict of keywords.
        device: `"meta"` or `"cpu"`.
        train: Whether forward and backward run in training mode.
        adapting: Arguments of `adapt`, in place of 4 channels and 21 classes.
        fits: Says what is wrong with the output; by default every floating tensor in it must have an axis of
            21 beside the first.
        mirrors: What these attributes of the model and of its `config` must say, where it has them.
        oracle: Says in what the adapted model differs from one that its library built with these sizes.
        changed: Paths of modules beside stems and heads whose tensors may change too.
    """
    begun = time.perf_counter()
    stage, sites = "build", ((), ())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = built_on(device, build)
            before = _state(model)
            stage = "adapt"
            adapt(model, **(adapting or {"in_channels": CHANNELS, "num_classes": CLASSES}))
            sites = _changed_sites(model)
            stage = "others"
            _check_others(before, model, [*sites[0], *sites[1], *changed])
            stage = "mirror"
            _check_mirrors(model, mirrors)
            stage = "oracle"
            if oracle is not None and (wrong := oracle(model)):
                raise _WrongError(wrong)
            stage = "forward"
            output = _called(model.train(train), feed(model))
            stage = "output"
            if wrong := (fits or _has_classes)(output):
                raise _WrongError(wrong)
            stage = "backward"
            sum(tensor.float().sum() for tensor in floating(output)).backward()  # type: ignore[union-attr]
            stage = "gradient"
            _check_gradients(model, [*sites[0], *sites[1]])
    except _WrongError as wrong:
        return Tried(stage, str(wrong), time.perf_counter() - begun, *sites)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        file = place.filename.rpartition("site-packages/")[2]
        reason = f"{type(error).__name__}: {error} ({file}:{place.lineno})"
        return Tried(stage, reason, time.perf_counter() - begun, *sites)
    return Tried("passed", "", time.perf_counter() - begun, *sites)


def built_on(device: str, build: Callable[[], nn.Module]) -> nn.Module:
    """The model on that device; one whose constructor needs values is built on the CPU and moved."""
    if device != "meta":
        return build()
    try:
        with torch.device("meta"):
            return build().to("meta")
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return build().to("meta")


def floating(output: Any) -> Iterator[torch.Tensor]:
    """Every floating-point tensor in an output, in whatever it is nested."""
    if isinstance(output, torch.Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from floating(value)
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from floating(value)
    elif is_dataclass(output):
        for entry in fields(output):
            yield from floating(getattr(output, entry.name))


def _state(model: nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Every parameter and buffer (also one that is not saved) and, on the CPU, a copy of its values."""
    named = dict(model.named_parameters()) | dict(model.named_buffers())
    return {name: (held, held.detach().clone()) for name, held in named.items()}


def _changed_sites(model: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    steps = info_of(model).surgery
    stems, heads = ([path for step in steps for path in step.get(key, ())] for key in ("stem", "head"))
    return tuple(stems), tuple(heads)


def _check_others(
    before: Mapping[str, tuple[torch.Tensor, torch.Tensor]], model: nn.Module, sites: list[str]
) -> None:
    now = dict(model.named_parameters()) | dict(model.named_buffers())
    changed = {name for name in (*now, *before) if any(name.startswith(f"{path}.") for path in sites)}
    if now.keys() - changed != before.keys() - changed:  # a head that was not there is among the changed
        raise _WrongError(f"other tensors than before: {sorted(now.keys() ^ before.keys())}")
    for name, tensor in now.items():
        if name in changed:
            continue
        held, values = before[name]
        if tensor.shape != values.shape:
            raise _WrongError(f"{name} changed from {list(values.shape)} to {list(tensor.shape)}")
        if tensor is not held or not (tensor.is_meta or _same(tensor, values)):
            raise _WrongError(f"{name} changed, and is no stem's or head's")


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(
        one.view(torch.uint8) if one.ndim else one, other.view(torch.uint8) if one.ndim else other
    )


def _check_mirrors(model: nn.Module, mirrors: Mapping[str, int]) -> None:
    for owner in (model, getattr(model, "config", None)):
        for name, size in mirrors.items():
            value = getattr(owner, name, size)
            if isinstance(value, int) and value != size:
                raise _WrongError(f"{type(owner).__name__}.{name} says {value}, not {size}")


def _called(model: nn.Module, arguments: Any) -> Any:
    if isinstance(arguments, Mapping):
        return model(**arguments)
    return model(*arguments) if isinstance(arguments, tuple) else model(arguments)


def _has_classes(output: Any) -> str | None:
    shapes = [tuple(tensor.shape) for tensor in floating(output)]
    if shapes and all(CLASSES in shape[1:] for shape in shapes):
        return None
    return f"gives {shapes}, not {CLASSES} classes"


def _check_gradients(model: nn.Module, sites: list[str]) -> None:
    for path in sites:
        for name, parameter in model.get_submodule(path).named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                raise _WrongError(f"{path}.{name} got no gradient")
            if not parameter.is_meta and parameter.grad is not None and not parameter.grad.isfinite().all():
                raise _WrongError(f"{path}.{name} got a gradient that is not finite")
