import subprocess
import sys

import pytest

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
