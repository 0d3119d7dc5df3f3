"""Models that give features and keep an `nn.Identity` where their head would be."""

from __future__ import annotations

from torchgraft.anatomy.sites import Site
from torchgraft.anatomy.tracing import Trace

__all__ = ["gives_features", "placeholder_in", "placeholder_site"]

_USUAL = ("head", "fc", "classifier", "last_linear", "logits", "proj", "output")


def placeholder_in(trace: Trace) -> Site | None:
    """The `nn.Identity` that hands on the model's output, a row of features for each input.

    Of several in a row it is the one that has a head's usual name, for they can't be told otherwise; `None`
    if not just one has.
    """
    paths = [path for path in trace.handed_on if len(trace.identities[path]) == 2]
    if len(paths) > 1:
        paths = [path for path in paths if path.rpartition(".")[2] in _USUAL]
    return placeholder_site(paths[0], trace) if len(paths) == 1 else None


def gives_features(trace: Trace, placeholder: Site | None) -> bool:
    """Whether what the last layers give is features for a head that is not there, rather than classes.

    A norm after them has their size, which says so. An activation or a pool may also follow a head; there the
    usual name of what comes then decides.
    """
    if placeholder is None:
        return False
    return trace.normed or (not trace.direct and placeholder.path.rpartition(".")[2] in _USUAL)


def placeholder_site(path: str, trace: Trace) -> Site:
    """A placeholder of which a run showed how many features it is given; 0 if it showed nothing."""
    shape = trace.identities.get(path, ())
    return Site(path, "placeholder", shape[-1] if shape else 0, 0)
