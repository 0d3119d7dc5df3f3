"""What a command line of `torchgraft finetune` asks for: a new run, an earlier one again, or to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from torchgraft.cli.earlier_run import EarlierRun, earlier_run
from torchgraft.finetuning.runs.reproducing import place

__all__ = ["AskedFor", "asked_for"]

_OF_MODEL = ("weights", "builder", "in_channels")
_NOT_AGAIN = ("overwrite", "resume", "checkpoint_every", "track")


@dataclass(frozen=True, slots=True)
class AskedFor:
    """A run to be made.

    Attributes:
        model: What `trained_model` takes: `name`, `weights`, `builder`, `in_channels`.
        data: Path of the images.
        out: The run folder.
        arguments: Those of `torchgraft.finetune` beside these.
    """

    model: Mapping[str, Any]
    data: str
    out: Path
    arguments: Mapping[str, Any]

    @property
    def code(self) -> tuple[str, ...]:
        """What of it is the user's own code, by name."""
        return EarlierRun(self.model, self.data, self.arguments).code

    @property
    def command(self) -> dict[str, Any]:
        """What `config.json` keeps, so that it can be asked for again."""
        named = {key: self.model[key] for key in _OF_MODEL}
        return {"model": _absolute(self.model["name"]), **named, "weights": _absolute(self.model["weights"])}


def asked_for(
    context: click.Context,
    *,
    model: str | None,
    data: str | None,
    out: Path | None,
    resume: str | None,
    config: str | None,
    trust: Sequence[str],
    given: Mapping[str, Any],
) -> AskedFor:
    """Put together what was given and what an earlier run says.

    No file says what code runs: what an earlier run names must be typed again.

    Args:
        context: Tells which options were given, and which only have their default.
        model: The first argument; likewise `data`, `out`, `resume` and `config`.
        trust: Code that an earlier run may name.
        given: All other options.

    Raises:
        click.UsageError: Something is missing, or too much.
    """
    said = {
        name
        for name in (*given, "model", "data", "out")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if resume is not None and config is not None:
        raise click.UsageError("--resume goes on with a run, --config begins one: give one of them")
    if resume is None and config is None:
        missing = [name.upper() for name, value in (("model", model), ("data", data)) if value is None]
        if missing:
            raise click.UsageError(f"Missing argument '{missing[0]}'.")
        assert model is not None
        assert data is not None
        named = {"name": model, **{key: given[key] for key in _OF_MODEL}}
        return AskedFor(named, data, _needed(out), _arguments(given, set(given)))
    before = earlier_run(Path(resume if resume is not None else str(config)))
    if resume is not None and said & {"model", "data", "out", *_OF_MODEL}:
        raise click.UsageError("--resume takes model, data and run folder from the run")
    kept = {name: value for name, value in before.arguments.items() if name not in _NOT_AGAIN}
    named = {**before.model, **{key: given[key] for key in _OF_MODEL if key in said}}
    if "model" in said:
        named["name"] = model
    asked = AskedFor(
        named,
        data if data is not None else before.data,
        Path(resume) if resume is not None else _needed(out),
        {**kept, **_arguments(given, said)},
    )
    typed = {*trust, *(given[key] for key in ("recipe", "builder") if key in said), model}
    unknown = [code for code in asked.code if code not in typed]
    if unknown:
        raise click.UsageError(
            f"The run's config.json names code that would run: {', '.join(unknown)}. If it is yours, add "
            + " ".join(f"--trust={code}" for code in unknown)
        )
    return asked


def _needed(out: Path | None) -> Path:
    if out is None:
        raise click.UsageError("Missing option '-o' / '--out'.")
    return out


def _arguments(given: Mapping[str, Any], wanted: set[str]) -> dict[str, Any]:
    """In the words of `torchgraft.finetune`; what was not given is left to the recipe."""
    found = {
        name: value
        for name, value in given.items()
        if name in wanted and name not in (*_OF_MODEL, "own", "skip_unreadable", "val") and value is not None
    }
    if "track" in found:
        found["track"] = tuple(found["track"])
    if found.get("clip") == "none":
        found["clip"] = None
    if "val" in wanted:
        found["val"] = _share_or_folder(given["val"])
    if "skip_unreadable" in wanted:
        found["unreadable"] = "skip" if given["skip_unreadable"] else "error"
    return {**found, **given["own"]}


def _share_or_folder(val: str) -> float | str:
    try:
        return float(val)
    except ValueError:
        return val


def _absolute(name: str) -> str:
    return place(name) if Path(name).exists() else name
