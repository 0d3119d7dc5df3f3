"""The command line: parses arguments, calls the rooms below, shows what they return; it decides nothing."""

from __future__ import annotations

from torchgraft.cli.group import commands

__all__ = ["commands", "main"]


def main() -> None:
    """Run the command that `sys.argv` names, and exit."""
    commands()
