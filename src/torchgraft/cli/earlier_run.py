"""What `--resume` and `--config` take from the `config.json` of an earlier run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from torchgraft.finetuning.runs.recorded_run import RUN_MARK

__all__ = ["EarlierRun", "earlier_run"]


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """How it was asked for.

    Attributes:
        model: What `trained_model` takes: `name`, `weights`, `builder`, `in_channels`.
        data: Path of the images.
        arguments: Those of `torchgraft.finetune`.
    """

    model: Mapping[str, Any]
    data: str
    arguments: Mapping[str, Any]

    @property
    def code(self) -> tuple[str, ...]:
        """What of it names code that would be imported and called: `module:callable`, `module:Class`."""
        name = str(self.model["name"])
        named = [name] if ":" in name and not Path(name).exists() else []
        recipe = str(self.arguments.get("recipe", ""))
        builder = self.model.get("builder")
        return (*named, *([str(builder)] if builder else []), *([recipe] if ":" in recipe else []))


def earlier_run(path: Path) -> EarlierRun:
    """Read a run folder or its `config.json`.

    Raises:
        click.UsageError: It is none, or the run was of a model or data that no file can name.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict) or RUN_MARK not in config:
            raise ValueError("it is no run's")
        arguments = dict(config["arguments"])
        lacks, command, model = config["lacks"], config["command"], config["model"]
        data = config["data"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise click.UsageError(f"{file} can't be used: {error}") from error
    if command is None and model["surgery"]:
        lacks = [*lacks, "the model: it was adapted by your code"]
    if lacks:
        raise click.UsageError(
            f"{file} does not say all that is needed: {'; '.join(lacks)}. "
            "Call torchgraft.finetune(…, resume=True) where these are"
        )
    if command is None:
        command = {"model": model["builder"], "weights": model["weights"].get("source", "none")}
    named = {"name": command["model"], **{key: command.get(key) for key in ("builder", "in_channels")}}
    return EarlierRun({**named, "weights": command["weights"]}, data, arguments)
