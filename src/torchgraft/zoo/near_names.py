"""Names that are almost right: `ResNet-18`, `densenet_161`, `squeezenet1.1`, a name without its library."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Sequence

from torchgraft.errors import MissingDependencyError, UnknownModelError
from torchgraft.zoo.sources import LIBRARIES, Listed, find_source

__all__ = ["near_names", "resolved"]

_log = logging.getLogger(__name__)
_SEPARATORS = re.compile(r"[-_. ]+")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)_(?=\d)")


def resolved(name: str) -> str:
    """The full name that is meant by an almost right one, with a note on it; any other as it is.

    Capitals and the signs between words don't count, except that what stands between two digits is not
    left out: `resnet1.8` is no `resnet18`. A name without a library is torchvision's, if it has it, else
    that of the first library that does.

    Raises:
        UnknownModelError: Several names fit, or a name without a library fits nowhere.
    """
    prefix, slash, inner = name.partition("/")
    if ":" in name:
        return name  # the user's own code, where every letter counts
    if slash:
        library = prefix.lower()
        if library not in LIBRARIES:
            return name
        found = _in_library(library, inner)
        full = f"{library}/{found}" if found is not None else f"{library}/{inner}"
        if full != name:
            _log.warning("%r is taken to be %r", name, full)
        return full
    return _without_library(name) if name else name


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Those of the known names that differ from a name in capitals and separators only."""
    names = list(known)
    for reduce in (_one_separator, _words_joined):
        if found := [other for other in names if reduce(other) == reduce(name)]:
            return found
    plain = _words_joined(name)
    if "_" in plain:
        return []
    return [other for other in names if _words_joined(other).replace("_", "") == plain]


def _one_separator(name: str) -> str:
    return _SEPARATORS.sub("_", name.lower()).strip("_")


def _words_joined(name: str) -> str:
    """Without separators, but for one between two digits."""
    kept = _BETWEEN_DIGITS.sub("|", _one_separator(name))
    return kept.replace("_", "").replace("|", "_")


def _in_library(library: str, inner: str) -> str | None:
    """The model's name in the library, `None` where nothing is like it."""
    source, _ = find_source(f"{library}/{inner}")
    if library == "hf" or not isinstance(source, Listed):
        return None  # a hub has no list to compare with
    known = source.names()
    if inner in known:
        return inner
    if found := near_names(inner, known):
        return _only(found, library, inner)
    architecture, dot, tag = inner.partition(".")
    found = near_names(architecture, known) if dot and library == "timm" else []
    return f"{_only(found, library, inner)}.{tag}" if found else None  # a tag stays as it is


def _only(found: Sequence[str], library: str, inner: str) -> str:
    if len(found) == 1:
        return found[0]
    raise UnknownModelError(
        f"can mean any of {len(found)} models",
        where=f"{library}/{inner}",
        hint="write " + " or ".join(f'"{library}/{one}"' for one in found),
    )


def _without_library(name: str) -> str:
    near: list[str] = []
    for library in LIBRARIES:
        try:
            found = _in_library(library, name)
            source, _ = find_source(f"{library}/{name}")
            known = source.names() if isinstance(source, Listed) and library != "hf" else ()
        except MissingDependencyError:
            continue
        if found is not None:
            full = f"{library}/{found}"
            _log.warning(
                "%r is taken to be %r; write the library to say so, or to choose another", name, full
            )
            return full
        near += [f'"{library}/{one}"' for one in difflib.get_close_matches(name.lower(), known, n=2)]
    raise UnknownModelError(
        "names no library that builds models, and no model of theirs is called so",
        where=name,
        hint=(f"did you mean {', '.join(near)}? " if near else "")
        + f'Write "torchvision/{name}", "timm/{name}", "hf/owner/{name}" or "your_module:function"',
    )
