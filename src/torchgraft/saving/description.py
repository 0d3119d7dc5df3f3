"""What a saved model says of itself: how it is rebuilt, its classes and images, and where it comes from."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import nn

from torchgraft.errors import SaveError
from torchgraft.model_info import info_of
from torchgraft.saving.ties import tied_parameters

__all__ = ["DESCRIPTION_VERSION", "description_of"]

DESCRIPTION_VERSION = 1

_PACKAGES = ("torchgraft", "torch", "timm", "torchvision", "transformers")

_log = logging.getLogger(__name__)


def description_of(source: object, notes: Mapping[str, object] | None, *, where: str) -> str:
    """The description as JSON.

    Raises:
        SaveError: The notes are no plain data.
    """
    about: dict[str, Any] = {"torchgraft_model": DESCRIPTION_VERSION, "info": None}
    if isinstance(source, nn.Module):
        about |= {"class": type(source).__name__, "info": info_of(source).to_json()}
        about |= {"tied": tied_parameters(source)}
    about["versions"] = _versions()
    if notes is not None:
        try:
            about["notes"] = json.loads(json.dumps(dict(notes)))
        except (TypeError, ValueError) as error:
            raise SaveError(
                f"notes= can't be written as JSON: {error}",
                where=where,
                hint="give texts, numbers, lists and dicts of them",
            ) from error
    try:
        return json.dumps(about, indent=1, ensure_ascii=False)
    except (TypeError, ValueError):
        # Builder arguments may be anything; what is not plain data can't be kept.
        info = about["info"]
        _log.warning(
            "the arguments of %s are not plain data, so the file won't say how the model is built; "
            "load it with torchgraft.load(path, model=…)",
            info["builder"],
        )
        info |= {"builder": None, "builder_args": {}, "surgery": []}
        return json.dumps(about, indent=1, ensure_ascii=False)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
