"""Options that several commands share, each spelled and explained once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce, wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from torchgraft.cli.output import Output

__all__ = [
    "batch_size",
    "classifier_options",
    "everything",
    "matching_options",
    "out",
    "output_options",
    "seed",
    "select",
    "skip_unreadable",
    "weights",
]

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

_FILE = click.Path(path_type=Path)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, `--quiet`, `--traceback`; the command gets an `Output` as its argument `output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document, errors too.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress, no remarks: only the result.")
    @click.option("--traceback", is_flag=True, help="Show Python's traceback when something fails.")
    @wraps(command)
    def with_output(*args: Any, as_json: bool, quiet: bool, traceback: bool, **options: Any) -> Any:  # noqa: ARG001
        # --traceback is read from the arguments by the group, since errors come also from parsing them
        output = Output(json=as_json, quiet=quiet or as_json)
        with output.hearing("torchgraft"):
            return command(*args, output=output, **options)

    return with_output


def _together(*decorators: Decorator[Any]) -> Decorator[Any]:
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(decorators), command)


def _by_name(
    example: str,
) -> Callable[[click.Context, click.Parameter, Sequence[str]], dict[str, str]]:
    """What makes a mapping of an option that is given several times as `NAME=LETTERS`, such as `example`."""

    def mapping(_context: click.Context, option: click.Parameter, given: Sequence[str]) -> dict[str, str]:
        found = {}
        for text in given:
            name, _, letters = text.rpartition("=")
            if not name or not letters:
                raise click.BadParameter(f"{text!r} is not {option.metavar}, such as {example}", param=option)
            found[name] = letters
        return found

    return mapping


select = click.option(
    "--select", metavar="PART", help="Which part of the file are the weights, when it holds several."
)

everything = click.option("--all", "everything", is_flag=True, help="Every tensor on a line of its own.")

classifier_options = _together(
    click.option("--in-channels", type=click.IntRange(1), help="Channels of the model's input."),
    click.option("--num-classes", type=click.IntRange(1), help="Classes that the model tells apart."),
    click.option("--labels", type=_FILE, help="The model's class names: a line each, or a JSON list."),
    click.option(
        "--in-mode",
        default="repeat",
        show_default=True,
        help="How new input channels are filled: repeat, mean, sum, zeros, or a map such as 0,1,2,mean.",
    ),
    click.option("--stem", metavar="PATH", help="The first layer's module path, where it can't be told."),
    click.option("--head", metavar="PATH", help="The classifier's module path, where it can't be told."),
)
"""`in_channels`, `num_classes`, `labels`, `in_mode`, `stem`, `head`."""

matching_options = _together(
    classifier_options,
    select,
    click.option(
        "--match",
        type=click.Choice(["auto", "exact", "order"]),
        default="auto",
        show_default=True,
        help="auto: names, prefixes, then structure. exact: names only. order: trust the file's order too.",
    ),
    click.option(
        "--rename",
        multiple=True,
        metavar="OLD=NEW",
        help="Rename in the checkpoint first; re:PATTERN=NEW for a pattern. Repeatable.",
    ),
    click.option(
        "--layout",
        "layouts",
        multiple=True,
        metavar="NAME=LETTERS",
        callback=_by_name("proj.weight=IO"),
        help="How a tensor of the checkpoint lies, where nothing tells: IO, HWIO, OHWI, … Repeatable.",
    ),
    click.option(
        "--fused",
        multiple=True,
        metavar="NAME=PARTS",
        callback=_by_name("fc1=gate+up"),
        help="What a layer is fused from, where its name does not say: fc1=gate+up. Repeatable.",
    ),
    click.option(
        "--allow-fresh",
        multiple=True,
        metavar="PATTERN",
        help="What may keep its random start: head, stem, or tensor names with *. Repeatable.",
    ),
    click.option(
        "--source-labels", type=_FILE, help="The checkpoint's class names; rows are carried over by name."
    ),
    click.option("--html", type=_FILE, help="Write the plan as an HTML page too."),
)
"""`classifier_options`, `select`, and what else `torchgraft.plan` takes, by its names; and `html`."""

weights = _together(
    click.option(
        "--weights",
        default="DEFAULT",
        show_default=True,
        metavar="WHERE",
        help="For a model that is built by name: DEFAULT (its published weights), a file, a URL, or none.",
    ),
    click.option(
        "--builder",
        metavar="MODULE:CALLABLE",
        help="For a saved folder whose model is your own code: what builds it, since no file may say so.",
    ),
)
"""`weights`, `builder`."""

seed = click.option(
    "--seed", type=int, default=0, show_default=True, help="Of everything random, new layers included."
)

batch_size = click.option(
    "--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Images at once."
)

skip_unreadable = click.option(
    "--skip-unreadable",
    is_flag=True,
    help="Leave out images that can't be read instead of stopping; they are named.",
)


def out(help: str, *, required: bool = True) -> Decorator[Any]:  # noqa: A002 (click's word)
    """`-o/--out`, the argument `out`."""
    return click.option("-o", "--out", type=_FILE, required=required, help=help)
