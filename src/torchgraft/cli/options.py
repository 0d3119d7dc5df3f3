"""Options that several commands share, each spelled and explained once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import reduce, wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from torchgraft.cli.choice import Choice
from torchgraft.cli.download_progress import DownloadProgress
from torchgraft.cli.output import Output
from torchgraft.finetuning.processes.launched import process_number
from torchgraft.finetuning.tasks import TASKS
from torchgraft.storage.download_event import downloads_told

__all__ = [
    "batch_size",
    "classifier_options",
    "everything",
    "html",
    "image_size",
    "matching_options",
    "normalisation",
    "out",
    "output_options",
    "seed",
    "select",
    "skip_unreadable",
    "task",
    "token_options",
    "weights",
    "workers",
]

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

_FILE = click.Path(path_type=Path)
_MOST_BYTES = 32 << 20


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, `--quiet`, `--debug`; the command gets an `Output` as its argument `output`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document, errors too.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress, no remarks: only the result.")
    @click.option("--debug", is_flag=True, help="Show Python's traceback when something fails.")
    @wraps(command)
    def with_output(*args: Any, as_json: bool, quiet: bool, debug: bool, **options: Any) -> Any:  # noqa: ARG001
        # --debug is read from the arguments by the group, since errors come also from parsing them
        output = Output(json=as_json, quiet=quiet or as_json, silent=process_number() > 0)
        with output.hearing("torchgraft"), DownloadProgress(output) as on_event, downloads_told(on_event):
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


def _modes(
    _context: click.Context, option: click.Parameter, given: Sequence[str]
) -> dict[str, object] | None:
    """`{"rows": "mean"}` of `rows=mean`; a value with commas is a list, one with braces or brackets JSON."""
    found: dict[str, object] = {}
    for text in given:
        kind, _, value = text.partition("=")
        if not kind or not value:
            raise click.BadParameter(f"{text!r} is not {option.metavar}, such as rows=mean", param=option)
        try:
            found[kind] = json.loads(value) if value[0] in "{[" else _words(value)
        except (ValueError, RecursionError) as error:
            raise click.BadParameter(f"{value!r} is not JSON: {error}", param=option) from error
    return found or None


def _class_map(_context: click.Context, option: click.Parameter, given: str | None) -> object:
    """A word as it is; else what the JSON file of that path holds."""
    if given is None or given in ("with-background", "without-background"):
        return given
    path = Path(given)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise click.BadParameter(f"{given!r} can't be read: {error}", param=option) from error


def _normalisation(_context: click.Context, option: click.Parameter, given: str | None) -> object:
    """A word as it is, or what its JSON says."""
    try:
        return json.loads(given) if given is not None and given[:1] in ("{", "[") else given
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{given!r} is not JSON: {error}", param=option) from error


def _words(text: str) -> object:
    words = [int(word) if word.isdecimal() else word for word in map(str.strip, text.split(","))]
    return text.strip() if len(words) == 1 and isinstance(words[0], str) else words


def _size(_context: click.Context, option: click.Parameter, given: str | None) -> tuple[int, int] | None:
    """Height and width, as `160` or `160x192` says them."""
    if given is None:
        return None
    sides = [int(side) if side.isdecimal() else 0 for side in given.lower().split("x")]
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise click.BadParameter(
            f"{given!r} is no size; such as 160 or 160x192 (height x width)", param=option
        )
    return (sides[0], sides[-1])


def _layers(
    _context: click.Context, option: click.Parameter, given: str | None
) -> str | list[int | None] | None:
    """`"even"` as it is, `[0, 2, None]` of `0,2,none`."""
    if given is None or not any(letter in given for letter in ",0123456789") or given.startswith("every"):
        return given
    words = [word.strip() for word in given.split(",")]
    if not all(word.isdecimal() or word == "none" for word in words):
        raise click.BadParameter(f"{given!r} is not {option.metavar}, such as 0,2,4", param=option)
    return [None if word == "none" else int(word) for word in words]


select = click.option(
    "--select", metavar="PART", help="Which part of the file are the weights, when it holds several."
)

everything = click.option("--all", "everything", is_flag=True, help="Every tensor on a line of its own.")

classifier_options = _together(
    click.option("--in-channels", type=click.IntRange(1), help="Channels of the model's input."),
    click.option("--num-classes", type=click.IntRange(1), help="Classes that the model tells apart."),
    click.option("--labels", type=_FILE, help="The model's class names: a line each, or a JSON list."),
    click.option(
        "--class-map",
        metavar="FILE",
        callback=_class_map,
        help='Which old class each is, as JSON: {"cat": [281, 282], "dog": "beagle"}; or with-background.',
    ),
    click.option(
        "--in-mode",
        default="repeat",
        show_default=True,
        help="How new input channels are filled: repeat, mean, sum, zeros, keep-scale, or a map: 0,1,2,mean.",
    ),
    click.option(
        "--mode",
        "modes",
        multiple=True,
        metavar="KIND=VALUE",
        callback=_modes,
        help="How a step that has several ways is done: rows=mean, inflate=centre, … Repeatable.",
    ),
    click.option("--stem", metavar="PATH", help="The first layer's module path, where it can't be told."),
    click.option("--head", metavar="PATH", help="The classifier's module path, where it can't be told."),
)
"""`in_channels`, `num_classes`, `labels`, `class_map`, `in_mode`, `modes`, `stem`, `head`."""

html = click.option("--html", type=_FILE, metavar="FILE", help="Write it as an HTML page too.")

normalisation = click.option(
    "--normalisation",
    metavar="WHAT",
    callback=_normalisation,
    help="Fold the images' normalisation into the first layer: 0..1, 0..255, -1..1, imagenet, or JSON.",
)

image_size = click.option(
    "--image-size",
    metavar="PIXELS",
    callback=_size,
    help="Images that the model takes, such as 384 or 160x192 (height x width).",
)

token_options = _together(
    click.option("--tokens", type=_FILE, help="The model's tokens: tokenizer.json, vocab.json or vocab.txt."),
    click.option("--source-tokens", type=_FILE, help="Those of the weights; rows are carried over by token."),
)
"""`tokens`, `source_tokens`."""

matching_options = _together(
    classifier_options,
    token_options,
    select,
    click.option(
        "--match",
        type=Choice(["auto", "exact", "order"]),
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
        "--layers",
        metavar="WHICH",
        callback=_layers,
        help="Blocks taken of a checkpoint of another depth: even, 'every 2', first, last, or 0,2,4,…",
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
    html,
)
"""`classifier_options`, `token_options`, `select`, what else `torchgraft.plan` takes, and `html`."""

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


task = click.option(
    "--task",
    type=Choice(list(TASKS)),
    help="What the labels, or a model's outputs, are; else what the model has learned, or by their looks.",
)

workers = click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Images are read ahead by so many processes, or threads to predict.",
)


def out(help: str, *, required: bool = True) -> Decorator[Any]:  # noqa: A002 (click's word)
    """`-o/--out`, the argument `out`."""
    return click.option("-o", "--out", type=_FILE, required=required, help=help)
