import subprocess
import sys

import pytest

from torchgraft.cli.failures import EXIT_CODES

COMMANDS = [
    "inspect",
    "diff",
    "convert",
    "plan",
    "graft",
    "restore",
    "check",
    "adapt",
    "finetune",
    "evaluate",
    "predict",
    "export",
    "zoo",
    "fetch",
    "cache",
    "demo",
]


def test_names_every_command_and_exit_code(call):
    result = call("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in result.output
    for code, meaning in EXIT_CODES.items():
        assert f"{code}  {meaning}" in result.output
    assert "..." not in result.output.replace("[ARGS]...", "")  # no description is cut off


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
