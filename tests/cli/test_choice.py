"""Values of options that are almost right."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from torchgraft.cli import commands
from torchgraft.cli.choice import Choice, meant
from torchgraft.cli.contents import COMMANDS


@pytest.mark.parametrize(
    ("word", "said"),
    [("ful", " Did you mean 'full'?"), ("FULL", " Did you mean 'full'?"), ("xyz", ""), ("", "")],
)
def test_meant(word, said):
    assert meant(word, ["full", "lora"]) == said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_few_words_says_what_was_meant(command):
    made = commands.get_command(click.Context(commands), command)
    assert made is not None
    for parameter in made.params:
        if isinstance(parameter.type, click.Choice):
            assert isinstance(parameter.type, Choice), parameter.name
            word = parameter.type.choices[0]
            with pytest.raises(click.BadParameter, match=f"Did you mean '{word}'"):
                parameter.type.convert(f"{word}x", parameter, None)
            assert parameter.type.convert(word, parameter, None) == word


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("ful", "'ful' is none of linear-probe, full"),
        ("linear_probe", "Did you mean 'linear-probe'?"),
        ("zzz", "or module:Class."),
    ],
)
def test_a_wrong_recipe_is_said_before_a_model_is_built(recipe, message):
    result = CliRunner().invoke(commands, ["finetune", "nowhere:build", "x", "-o", "y", "--recipe", recipe])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
