"""The group of all commands: each is imported when it is named, each failure becomes an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import click

from torchgraft import __version__
from torchgraft.cli.contents import COMMANDS, SECTIONS, near_command
from torchgraft.cli.failures import EXIT_CODES, Failure, describe
from torchgraft.cli.output import Output
from torchgraft.finetuning.processes.launched import process_count, process_number

__all__ = ["commands"]


class CommandGroup(click.Group):
    """Commands in the order in which they are needed; errors of one screen, each with its exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """All names, in order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"torchgraft.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a wrong name brings the one that was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = near_command(args[0])
            if near is None:
                raise
            raise click.UsageError(f"No such command '{args[0]}'. Did you mean '{near}'?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The commands under their headings, none of them imported."""
        widest = max(map(len, COMMANDS))
        for heading, lines in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), line) for name, line in lines.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "torchgraft",
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; unless `standalone_mode` is off, exit with its code."""
        arguments = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
        if process_number() > 0 and not _IN_ALL_PROCESSES.intersection(arguments[:1]):
            sys.exit(0)  # the first process does it
        try:
            code = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
        except click.Abort:
            code = 130  # as a shell reports an interrupt
        except Exception as error:
            if "--debug" in arguments or os.environ.get("TORCHGRAFT_DEBUG", "") not in ("", "0"):
                raise
            failure = describe(error)
            _fail(failure, json="--json" in arguments)
            code = failure.code
        sys.exit(code if isinstance(code, int) else 0)


def _fail(failure: Failure, *, json: bool) -> None:
    """Show it; of several processes that a launcher started only one."""
    if process_count() == 1:
        Output(json=json).fail(failure)
        return
    from torchgraft.finetuning.processes.failures import first_has_said, say_as_first

    if process_number() == 0:
        Output(json=json).fail(failure)
        say_as_first(failure.message)
    elif not first_has_said(failure.message):
        Output().fail(replace(failure, message=f"process {process_number()}: {failure.message}"))


_IN_ALL_PROCESSES = frozenset({"finetune", "evaluate"})
"""What `torchrun` and the like start several times to share the work."""

_CODES = "".join(f"\n {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"\b\nExit codes:{_CODES}",
)
@click.version_option(__version__, "-V", "--version", prog_name="torchgraft")
def commands() -> None:
    """Any pretrained weights into any PyTorch model, correctly, and you can see that it is so.

    \b
    torchgraft inspect net.pth                      what is in this file?
    torchgraft plan timm/resnet18 net.pth           would it fit, and how?
    torchgraft graft timm/resnet18 net.pth -o out/  put it in and save the model
    torchgraft finetune out/ photos/ -o run/        train it on your photos
    torchgraft demo                                 see all of it in a few minutes
    """
