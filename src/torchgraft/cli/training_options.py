"""Options of `torchgraft finetune`: those of the training loop, of the data and of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import click
from click.shell_completion import CompletionItem

from torchgraft.cli.choice import Choice, meant
from torchgraft.finetuning.recipes import RECIPES

__all__ = ["SECTIONS", "loop_options", "recipe_options", "run_options", "schedule_options"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_ABOVE = click.FloatRange(0, min_open=True)
_SHARE = click.FloatRange(0, 1, max_open=True)


class _Recipe(click.ParamType[str]):
    """A name in `RECIPES`, or the user's own."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """A name that is none is refused before a model is built."""
        if value not in RECIPES and ":" not in value:
            self.fail(
                f"{value!r} is none of {', '.join(RECIPES)}; or module:Class.{meant(value, RECIPES)}",
                param,
                ctx,
            )
        return str(value)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 (click's own)
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in RECIPES if name.startswith(incomplete)]


def _values(_context: click.Context, option: click.Parameter, given: Sequence[str]) -> dict[str, Any]:
    """`{"head_lr": 5}` of `head_lr=5`; a value is JSON, or a word."""
    found: dict[str, Any] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not name or not separator:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as head_lr=5", param=option)
        found[name.replace("-", "_")] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _weights(_context: click.Context, option: click.Parameter, given: str | None) -> Any:
    if given is None or given == "balanced":
        return given
    found = _value(given)
    if not isinstance(found, dict):
        raise click.BadParameter(
            f"""{given!r} is not balanced, nor JSON such as {{"cat": 2}}""", param=option
        )
    return found


def _augment(_context: click.Context, _option: click.Parameter, given: str | None) -> Any:
    return False if given == "none" else given


def _clip(_context: click.Context, _option: click.Parameter, given: float | None) -> Any:
    return "none" if given == 0 else given


def _together(*options: Any) -> Decorator:
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


recipe_options = _together(
    click.option(
        "--recipe",
        type=_Recipe(),
        default="linear-probe",
        show_default=True,
        help=f"How to train: {', '.join(RECIPES)}; or module:Class.",
    ),
    click.option(
        "--set",
        "own",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_values,
        help="An option of the recipe's own, such as head_lr=5. Repeatable.",
    ),
)
"""`recipe`, and the recipe's own options as `own`."""

schedule_options = _together(
    click.option(
        "--epochs", type=click.IntRange(1), help="Passes over the data; each recipe has its own number."
    ),
    click.option("--lr", type=_ABOVE, help="Learning rate, likewise."),
    click.option("--weight-decay", type=click.FloatRange(0), help="Likewise."),
    click.option(
        "--patience", type=click.IntRange(1), help="Stop after so many epochs without a better one."
    ),
    click.option("--max-steps", type=click.IntRange(1), help="Stop after so many steps of the optimizer."),
)
"""`epochs`, `lr`, `weight_decay`, `patience`, `max_steps`."""

loop_options = _together(
    click.option("--optimizer", type=Choice(["adamw", "sgd"]), help="adamw unless given."),
    click.option("--warmup", type=_SHARE, help="Share of all steps in which the learning rate rises."),
    click.option("--clip", type=click.FloatRange(0), callback=_clip, help="Largest gradient; 0: any."),
    click.option("--accumulate", type=click.IntRange(1), help="So many batches make one step."),
    click.option("--ema", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Average weights."),
    click.option("--label-smoothing", type=_SHARE, help="Share of a label spread over all classes."),
    click.option(
        "--class-weights",
        metavar="balanced|JSON",
        callback=_weights,
        help='How much classes count: balanced, or {"cat": 2, "dog": 1}.',
    ),
    click.option(
        "--augment",
        type=Choice(["light", "trivial", "rand", "none"]),
        callback=_augment,
        help="How images are varied.",
    ),
    click.option("--crop-scale", type=(float, float), metavar="LEAST MOST", help="Area of a random part."),
    click.option("--mixup", type=click.FloatRange(0), help="Blend images; 0.2 is usual."),
    click.option("--cutmix", type=click.FloatRange(0), help="Paste parts of images; 1 is usual."),
    click.option(
        "--freeze-bn/--learn-bn", default=None, help="Batch normalisation keeps what it has learned."
    ),
    click.option("--precision", type=Choice(["auto", "fp32", "bf16", "fp16"]), help="auto unless given."),
    click.option("--compile/--no-compile", default=None, help="Use torch.compile."),
    click.option("--channels-last/--channels-first", default=None, help="Layout of images in memory."),
    click.option("--shard/--no-shard", default=None, help="Processes share the parameters (FSDP2)."),
)
"""The fields of `Fitting`."""

run_options = _together(
    click.option("--overwrite", is_flag=True, help="Replace an earlier run in the run folder."),
    click.option(
        "--resume",
        metavar="FOLDER",
        help="Go on with the interrupted run in this folder; no other arguments.",
    ),
    click.option("--config", metavar="FILE", help="Do again what this config.json of a run says, in --out."),
    click.option(
        "--trust",
        multiple=True,
        metavar="MODULE:NAME",
        help="With --resume or --config: code of yours that the run may import. Repeatable.",
    ),
    click.option("--checkpoint-every", type=click.IntRange(1), help="Steps from one checkpoint to the next."),
    click.option(
        "--track", multiple=True, metavar="NAME", help="Log to tensorboard, wandb, … too. Repeatable."
    ),
    click.option("--dry-run", is_flag=True, help="Show what would be trained and how fast, and stop."),
    click.option("--feature-cache", metavar="FOLDER", help="Keep a linear probe's features for other runs."),
)
"""`overwrite`, `resume`, `config`, `trust`, `checkpoint_every`, `track`, `dry_run`, `feature_cache`."""

SECTIONS = {
    "Recipe": (
        "recipe",
        "own",
        "epochs",
        "lr",
        "weight_decay",
        "patience",
        "max_steps",
        "batch_size",
        "seed",
    ),
    "Model and data": ("weights", "builder", "in_channels", "val", "task", "workers", "skip_unreadable"),
    "Training": (
        *("optimizer", "warmup", "clip", "accumulate", "ema", "label_smoothing", "class_weights", "augment"),
        *("crop_scale", "mixup", "cutmix", "freeze_bn", "precision", "compile", "channels_last", "shard"),
    ),
    "Run": (
        *("out", "overwrite", "resume", "config", "trust", "checkpoint_every", "track", "dry_run"),
        "feature_cache",
    ),
}
"""Headings of the help, and what is under them."""
