"""Weights that a library publishes for a model: where they are, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchgraft.model_info import Preprocessing

__all__ = ["PublishedWeights"]


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """Weights that a library publishes for a model. What it doesn't say is `None` or empty.

    Attributes:
        name: What `weights=` takes, such as `"IMAGENET1K_V2"` or `"a1_in1k"`.
        url: Where the file is, if it is a plain URL.
        hub: The Hugging Face repository and the file in it, if it is there.
        revision: The branch, tag or commit of that repository; the usual one if `None`.
        path: The file or folder, if it is on this machine.
        preprocessing: What they were trained with.
        labels: The class names, if the library ships them.
        builder_args: Arguments with which the library's builder is called for these weights.
        rename: The library's own rules for names in the file that the model calls otherwise, for `re.sub` in
            turn.
        parameters: How many numbers the model has.
        input_size: Channels, height and width.
        classes: How many they tell apart; 0 for weights without a classifier.
        licence: As the library writes it.
        metrics: For each data set the figures that were published: `{"ImageNet-1K": {"acc@1": 69.758}}`.
        nbytes: Size of the file: exact where it is on this machine, else as published.
        origin: Address of the training recipe, or of where they came from.
        cached: Where they are on this machine already; their bytes have not been checked.
    """

    name: str
    url: str | None = None
    hub: tuple[str, str] | None = None
    revision: str | None = None
    path: Path | None = None
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None
    builder_args: Mapping[str, Any] = field(default_factory=dict)
    rename: tuple[tuple[re.Pattern[str], str], ...] = ()
    parameters: int | None = None
    input_size: tuple[int, ...] | None = None
    classes: int | None = None
    licence: str | None = None
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    nbytes: int | None = None
    origin: str | None = None
    cached: Path | None = None

    @property
    def provenance(self) -> dict[str, str]:
        """What a model that gets them remembers (`ModelInfo.weights`): by it others find and credit them."""
        repository = self.hub[0] if self.hub is not None else None
        if repository is not None and self.revision is not None:
            repository = f"{repository}@{self.revision}"
        known = {
            "published as": self.name,
            "hub": repository,
            "url": self.url,
            "origin": self.origin,
            "licence": self.licence,
        }
        return {key: value for key, value in known.items() if value}

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {
            "name": self.name,
            "url": self.url,
            "hub": "/".join(self.hub) if self.hub else None,
            "revision": self.revision,
            "preprocessing": self.preprocessing.to_json() if self.preprocessing else None,
            "labels": list(self.labels) if self.labels is not None else None,
            "parameters": self.parameters,
            "input_size": list(self.input_size) if self.input_size else None,
            "classes": self.classes,
            "licence": self.licence,
            "metrics": {data: dict(figures) for data, figures in self.metrics.items()},
            "nbytes": self.nbytes,
            "origin": self.origin,
            "cached": str(self.cached) if self.cached else None,
        }
