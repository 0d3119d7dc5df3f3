"""Heads that only run while the model learns, such as the auxiliaries of GoogLeNet and Inception."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import chain

from torch import nn

from torchgraft.anatomy.example_inputs import guesses
from torchgraft.anatomy.sites import Site, matrix_layers, site_at
from torchgraft.anatomy.tracing import Trace, run

__all__ = ["training_heads"]

_log = logging.getLogger(__name__)


def training_heads(model: nn.Module, example: object, seen: Trace, heads: Sequence[Site]) -> tuple[Site, ...]:
    """Layers that give an output in training mode alone, of as many classes as the known heads do.

    The model is run in training mode only if a layer of that size has not run yet. Inception's auxiliary
    takes no image as small as its head does, so that other inputs are tried where this one fails.

    Args:
        model: The model.
        example: An input it takes.
        seen: The run in evaluation mode.
        heads: The heads found by it.
    """
    sizes = {site.out_size for site in heads}
    called = set(seen.paths)
    sites = [site_at(path, layer) for path, layer in matrix_layers(model) if path not in called]
    layers = [site for site in sites if site.kind in ("conv", "linear")]
    waiting = {site.path: site for site in layers if sizes == {site.out_size}}
    for attempt in chain([example], guesses(model)) if waiting else ():
        try:
            trace = run(model, attempt, training=True)
        except Exception:  # somebody else's model may raise anything, and may want targets to learn from
            _log.debug("can't be run in training mode", exc_info=True)
            continue
        return tuple(waiting[path] for path in trace.heads() if path in waiting)
    return ()
