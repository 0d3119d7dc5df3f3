"""`check_statistics`: does what reaches each BatchNorm look like what it saw in training?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchgraft.errors import DataError
from torchgraft.verifying.moments import Moments, batch_norms
from torchgraft.verifying.running import named, outputs_of, ready
from torchgraft.verifying.statistics_result import LayerStatistics, StatisticsCheck, Verdict

if TYPE_CHECKING:
    from torchgraft.model_info import Preprocessing

__all__ = ["check_statistics"]

_FEWEST = 16
"""Images below which chance can't be told from a mistake: a photo that is missing may be the only one that
drives a layer. Of random halves of twenty photos, one in eight would raise a false alarm on MobileNetV2."""

_ERRORS = 2.0
"""Standard errors that are taken off each difference: what so few images would show anyway."""

_MOST = 0.25
"""The largest shift and spread of a layer in a right model. Right grafts of real weights reach 0.10 on twenty
photos and 0.20 on any sixteen of them; of the swaps of two layers, the least visible reaches 0.32."""


def check_statistics(
    model: nn.Module,
    images: object,
    *,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 32,
) -> StatisticsCheck:
    """Compare what reaches each BatchNorm with the running mean and variance that it has from training.

    Needs no reference: where weights are in the wrong place, what comes out of them has other statistics
    than the BatchNorm after them remembers. The channels' means must agree, and their variances up to a
    factor that they share, for that is the images' contrast.

    It needs at least sixteen images of the kind that the model was trained on, prepared as in training. It
    can't see what comes after the last BatchNorm (the classifier), what no BatchNorm follows, nor a scale
    that all channels share. A model without BatchNorm is `"unknown"`, and so does not pass. The model runs in
    evaluation mode and is left as it was.

    Args:
        model: Any module.
        images: A folder, paths, PIL images or arrays, which are prepared; or inputs as the model takes them:
            a floating-point tensor (batch, …), or batches of them such as a `DataLoader`'s.
        preprocessing: How an image becomes an input, if not as the model remembers.
        batch_size: Images at a time, where they are prepared.

    Raises:
        DataError: There are fewer than sixteen images, one can't be read, or the model does not take them.
    """
    layers = dict(batch_norms(model))
    if not layers:
        return StatisticsCheck(
            named(model), 0, "unknown", "it has no BatchNorm, so that there are no statistics to compare", ()
        )
    moments = {path: Moments(len(module.running_mean)) for path, module in layers.items()}  # type: ignore[arg-type]
    order: dict[str, None] = {}
    count = 0
    with ExitStack() as stack:
        stack.enter_context(ready(model))
        for path, module in layers.items():
            handle = module.register_forward_pre_hook(_noting(path, moments[path], order))
            stack.callback(handle.remove)
        for batch in _batches(model, images, preprocessing, batch_size):
            outputs_of(getattr(model, "_orig_mod", model), batch)  # torch.compile would compile the hooks
            count += _length(batch)
        if count < _FEWEST:
            raise DataError(f"{count} images are too few to tell: at least {_FEWEST} are needed")
        found = tuple(
            _compared(path, layers[path], moments[path]) for path in order if moments[path].images > 1
        )
        return _judged(named(model), count, found, [layers[layer.path] for layer in found], len(layers))


def _noting(
    path: str, moments: Moments, order: dict[str, None]
) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        order.setdefault(path)
        moments.hook(module, args)

    return hook


def _compared(path: str, module: nn.Module, moments: Moments) -> LayerStatistics:
    sample = moments.sample()
    mean, variance = (
        getattr(module, name).detach().double().cpu() for name in ("running_mean", "running_var")
    )
    eps = float(getattr(module, "eps", 1e-5))
    deviation = (variance + eps).sqrt()
    shift = ((sample.mean - mean).abs() - _ERRORS * sample.mean_error).clamp_min(0) / deviation
    ratio = ((sample.variance + eps) / (variance + eps)).log()
    common = ratio.median()
    error = sample.variance_error / (sample.variance + eps)
    spread = ((ratio - common).abs() - _ERRORS * error).clamp_min(0)
    return LayerStatistics(
        path=path,
        channels=len(mean),
        values=sample.values,
        shift=_number(shift.mean()),
        spread=_number(spread.mean()),
        factor=_number(common.exp()),
    )


def _number(value: torch.Tensor) -> float:
    """NaN, which running statistics that are no statistics lead to, is infinitely far off."""
    return float(value.nan_to_num(nan=float("inf"), posinf=float("inf")))


def _judged(
    model: str, images: int, found: tuple[LayerStatistics, ...], modules: list[nn.Module], known: int
) -> StatisticsCheck:
    def result(verdict: Verdict, why: str, suspects: Sequence[str] = ()) -> StatisticsCheck:
        return StatisticsCheck(model, images, verdict, why, found, tuple(suspects))

    if not found:
        return result("unknown", "none of its BatchNorms was reached")
    if all(_untrained(module) for module in modules):
        return result(
            "unknown", "its BatchNorms hold the statistics that they were made with: nothing was loaded"
        )
    off = [layer.path for layer in found if max(layer.shift, layer.spread) > _MOST]
    missed = f"; {known - len(found)} of {known} were not reached" if known > len(found) else ""
    if not off:
        return result(
            "right", f"what reaches its {len(found)} BatchNorms is what they saw in training{missed}"
        )
    many = f"{len(off)} of {len(found)} BatchNorms get something else than in training"
    if off[0] == found[0].path:
        return result(
            "unknown",
            f"{many}, already the first one, {off[0]}: the images are not prepared as in training (or of"
            f" another kind), or the weights before it are wrong{missed}",
            off,
        )
    return result("wrong", f"{many}; it begins at {off[0]}{missed}", off)


def _untrained(module: nn.Module) -> bool:
    mean, variance = (getattr(module, name) for name in ("running_mean", "running_var"))
    return not bool(mean.count_nonzero()) and bool((variance == 1).all())


def _batches(
    model: nn.Module, images: object, preprocessing: Preprocessing | None, batch_size: int
) -> Iterator[object]:
    """Inputs for the model, a batch at a time."""
    if isinstance(images, torch.Tensor) and images.is_floating_point() and images.ndim > 1:
        yield from torch.split(images, batch_size)
        return
    if isinstance(images, Iterable) and not (
        hasattr(images, "ndim") or isinstance(images, str | os.PathLike)
    ):
        ahead = iter(images)
        first = next(ahead, None)
        if _is_batch(first):
            yield from map(_input, chain([first], ahead))
            return
        images = [first, *ahead] if first is not None else []
    from torchgraft.finetuning.predicting import prepared

    yield from prepared(model, images, preprocessing=preprocessing, batch_size=batch_size)


def _is_batch(value: object) -> bool:
    if isinstance(value, tuple | list) and value:
        value = value[0]
    if isinstance(value, Mapping):
        return any(isinstance(inner, torch.Tensor) for inner in value.values())
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _input(batch: object) -> object:
    """Of (inputs, labels), the inputs."""
    return batch[0] if isinstance(batch, tuple | list) else batch


def _length(batch: object) -> int:
    values = batch.values() if isinstance(batch, Mapping) else [batch]
    return next((len(value) for value in values if isinstance(value, torch.Tensor)), 0)
