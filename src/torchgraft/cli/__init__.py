"""The command line: parses arguments, calls the rooms below, shows what they return; it decides nothing."""

from __future__ import annotations

import gc

from torchgraft.cli.group import commands

__all__ = ["commands", "main"]


def main() -> None:
    """Run the command that `sys.argv` names, and exit."""
    # A short-lived process that may make millions of objects and keeps them: collecting them seldom saves
    # a third of the time that a checkpoint of 100,000 tensors takes.
    gc.set_threshold(100_000, 20, 100)
    commands()
