import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from torchgraft.cli import commands
from torchgraft.cli.contents import COMMANDS
from torchgraft.cli.failures import EXIT_CODES


def test_names_every_command_and_exit_code(call):
    result = call("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in result.output
    for code, meaning in EXIT_CODES.items():
        assert f"{code}  {meaning}" in result.output
    assert all(line in result.output for line in COMMANDS.values())
    assert "..." not in result.output.replace("[ARGS]...", "")  # no description is cut off


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("inpsect", "inspect"), ("fine-tune", "finetune"), ("grafts", "graft"), ("xyz", None)],
)
def test_a_wrong_command_brings_the_right_one(wrong, meant, call):
    result = call(wrong)
    assert result.exit_code == 2
    assert (f"Did you mean '{meant}'?" in result.output) is (meant is not None)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_shared_options(command):
    made = commands.get_command(click.Context(commands), command)
    assert made is not None
    flags = {flag: parameter for parameter in made.params for flag in parameter.opts}
    assert {"--json", "--quiet", "-q", "--debug"} <= set(flags)
    assert all(flags[flag].is_flag for flag in ("--json", "--quiet", "--debug"))


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)], ids=" ".join)
def test_h_is_help(command, call):
    short = call(*command, "-h")
    assert short.exit_code == 0
    assert short.output == call(*command, "--help").output


def test_the_guide_gives_every_exit_code():
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "command-line.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", guide, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_examples(command, call):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"\n  torchgraft {command}" in result.output
    assert "--json" in result.output


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)]
)
def test_help_needs_no_pytorch(arguments):
    code = (
        "import sys\n"
        "from torchgraft.cli import commands\n"
        "try: commands(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'numpy' not in sys.modules\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
