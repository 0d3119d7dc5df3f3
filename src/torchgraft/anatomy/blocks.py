"""The blocks a model is built of, such as a transformer's layers, by what repeats and how it is called."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from torchgraft.anatomy.example_inputs import guesses
from torchgraft.anatomy.meta_twin import on_meta
from torchgraft.anatomy.nested_tensors import tensors_in
from torchgraft.anatomy.undisturbed import undisturbed

__all__ = ["blocks_of"]

_log = logging.getLogger(__name__)

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def blocks_of(model: nn.Module, example: object = None) -> list[str]:
    """Module paths of the blocks, in the order of registration; none is inside another.

    A block is of a class that occurs several times, holds several layers, and is more than a row of parts
    each of which is given what the one before it gave: a stage is such a row, and is taken apart. A plain
    network of nothing but such rows has those that hold single layers for blocks (a convolution and its
    norm); one without any has none.

    Args:
        model: Left as it was.
        example: An input it takes; guessed if not given. If it takes none, only the classes tell.
    """
    rows = _rows(model, example)
    counts = Counter(type(module) for module in model.modules() if _is_composite(module))
    repeated = {kind for kind, count in counts.items() if count > 1} - set(_CONTAINERS)
    found = _Found()
    for path, child in model.named_children():
        _visit(path, child, repeated, rows, found)
    # what is numbered stands in a row of its kind; what is not, such as a stage's `downsample`, is between
    numbered = [path for path in found.blocks if path[-1].isdigit()]
    if 2 * len(numbered) > len(found.blocks):
        found.blocks = numbered
    patterns = {_pattern(path) for path in found.blocks}
    also = [path for path in found.single if _pattern(path) in patterns]
    chosen = {*found.blocks, *also} if found.blocks else set(found.plain)
    return [
        path
        for path, _ in model.named_modules()
        if path in chosen and not any(path.startswith(f"{other}.") for other in chosen)
    ]


@dataclass
class _Found:
    """Paths of `blocks`; of rows of single layers (`plain`); of composites of a class that occurs once."""

    blocks: list[str] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    single: list[str] = field(default_factory=list)


def _visit(
    path: str, module: nn.Module, repeated: set[type[nn.Module]], rows: set[type[nn.Module]], found: _Found
) -> None:
    if not _is_composite(module):
        return
    if type(module) in repeated:
        if type(module) not in rows and not isinstance(module, _CONTAINERS):
            found.blocks.append(path)
            return
        if not any(_is_composite(inner) for inner in module.modules() if inner is not module):
            found.plain.append(path)
            return
    elif not isinstance(module, _CONTAINERS):
        found.single.append(path)
    for name, child in module.named_children():
        _visit(f"{path}.{name}", child, repeated, rows, found)


def _is_composite(module: nn.Module) -> bool:
    """Whether several modules in it hold parameters."""
    holders = (inner for inner in module.modules() if next(inner.parameters(recurse=False), None) is not None)
    return len([None for _, _ in zip(range(2), holders, strict=False)]) == 2


def _pattern(path: str) -> str:
    return re.sub(r"\d+", "*", path)


def _rows(model: nn.Module, example: object) -> set[type[nn.Module]]:
    """Classes of which every call that was seen was a row of calls."""
    for attempt in [example] if example is not None else guesses(model):
        for meta in (True, False):
            try:
                calls = _run(model, attempt, meta=meta)
            except Exception:  # somebody else's model may raise anything
                _log.debug("the model does not run on such an input", exc_info=True)
                continue
            broken = {kind for kind, is_row in calls if not is_row}
            return {kind for kind, _ in calls} - broken
    return {nn.Sequential}


def _run(model: nn.Module, example: object, *, meta: bool) -> list[tuple[type[nn.Module], bool]]:
    recorder = _Calls()
    with ExitStack() as stack:
        stack.enter_context(undisturbed(model))
        for module in model.modules():
            stack.callback(module.register_forward_pre_hook(recorder.enter, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(recorder.leave).remove)
        arguments = on_meta(example) if meta else example
        keywords = dict(arguments) if isinstance(arguments, Mapping) else {}
        values = () if keywords else arguments if isinstance(arguments, tuple) else (arguments,)
        if meta:
            tensors: dict[str, Any] = {
                name: torch.empty_like(tensor, device="meta")
                for name, tensor in (*model.named_parameters(), *model.named_buffers())
            }
            torch.func.functional_call(model, tensors, values, keywords)
        else:
            model(*values, **keywords)
    return recorder.finished


_State = tuple[int, int]
"""Which tensor, and how often it had been written to."""


@dataclass
class _Call:
    module: nn.Module
    given: list[_State]
    inner: list[tuple[list[_State], list[_State]]] = field(default_factory=list)

    def is_row(self, gave: list[_State]) -> bool:
        """Whether each inner call was given what the one before gave, and the last gave this one's result.

        What else this call was given, such as a mask, may be handed to all of them.
        """
        if not self.inner or not self.given or not gave:
            return False
        before, beside = self.given, set(self.given[1:])
        for taken, result in self.inner:
            if not set(taken) & set(before) or not set(taken) <= set(before) | beside:
                return False
            before = result
        return gave[0] in before


class _Calls:
    """Hooks that note, for every call of a module that called others, whether it was a row of calls."""

    def __init__(self) -> None:
        self.finished: list[tuple[type[nn.Module], bool]] = []
        self._open: list[_Call] = []
        self._kept: list[torch.Tensor] = []  # so that no number of a tensor is used twice

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._open.append(_Call(module, list(self._states((args, kwargs)))))

    def leave(self, module: nn.Module, _args: object, output: object) -> None:
        call = self._open.pop()
        assert call.module is module, "calls end in the order in which they began"
        gave = list(self._states(output))
        if call.inner:
            self.finished.append((type(module), call.is_row(gave)))
        if self._open:
            self._open[-1].inner.append((call.given, gave))

    def _states(self, value: object) -> Iterator[_State]:
        for tensor in tensors_in(value):
            self._kept.append(tensor)
            yield id(tensor), tensor._version  # noqa: SLF001  # the public way to ask is none
