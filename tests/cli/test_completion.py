"""Shell completion: the script, and what a shell is answered."""

import os
import shutil
import subprocess
import sys

import pytest


def answered(words, place):
    """The completions of the last word, as bash asks for them."""
    environment = {
        **os.environ,
        "_TORCHGRAFT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    run = subprocess.run(
        [sys.executable, "-m", "torchgraft"],
        env=environment,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.partition(",")[2] for line in run.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "among"),
    [
        (["torchgraft", "ins"], "inspect"),
        (["torchgraft", "inspect", "--js"], "--json"),
        (["torchgraft", "finetune", "a", "b", "--recipe", "linear"], "linear-probe"),
        (["torchgraft", "zoo", "sh"], "show"),
    ],
)
def test_answers(words, among, tmp_path):
    assert among in answered(words, tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script(shell, call):
    result = call("completion", shell)
    assert result.exit_code == 0
    assert "_TORCHGRAFT_COMPLETE" in result.output
    assert call("completion", shell, "--json").exit_code == 0


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_takes_the_script(call):
    script = call("completion", "bash").output
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
