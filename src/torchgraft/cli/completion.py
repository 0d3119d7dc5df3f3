"""`torchgraft completion`: a few lines for the shell's own start-up file."""

from __future__ import annotations

import click

from torchgraft.cli.choice import Choice
from torchgraft.cli.options import output_options
from torchgraft.cli.output import Output

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=Choice(["bash", "zsh", "fish"]))
@output_options
def completion(shell: str, output: Output) -> None:
    """Print what makes SHELL complete commands, options, their values and paths.

    \b
    torchgraft completion bash >> ~/.bashrc
    torchgraft completion zsh >> ~/.zshrc
    torchgraft completion fish > ~/.config/fish/completions/torchgraft.fish
    """
    from click.shell_completion import get_completion_class

    from torchgraft.cli.group import commands

    kind = get_completion_class(shell)
    assert kind is not None, shell
    source = kind(commands, {}, "torchgraft", "_TORCHGRAFT_COMPLETE").source_vars()
    script = kind.source_template % source
    output.line(script.strip())
    output.result(None, lambda: {"shell": shell, "script": script})
