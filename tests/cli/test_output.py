import json
import logging
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.text import Text

from torchgraft.cli.json_text import json_text
from torchgraft.cli.output import Output


@dataclass
class Part:
    name: str
    secret: object = field(repr=False)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (math.nan, None),
        (math.inf, None),
        (Path("a/b"), "a/b"),
        ((1, 2), [1, 2]),
        ({1: "x"}, {"1": "x"}),
        (Part("p", object), {"name": "p"}),
        (b"\x00", "b'\\x00'"),
        ("\x1b[2J\ud800", "\x1b[2J\ud800"),
    ],
)
def test_json_is_plain_data_in_ascii(value, plain):
    text = json_text({"value": value})
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == {"value": plain}


def test_json_of_endless_nesting_ends():
    value: dict[str, object] = {}
    value["again"] = value
    assert "…" in json.loads(json_text(value).replace("\\u2026", "…")).__repr__()


def use(output: Output) -> None:
    output.remark("a [bold]remark[/]")
    output.show(Text("a part"))
    output.result(Text("the result"), lambda: {"result": 1})


@pytest.mark.parametrize(
    ("options", "stdout", "stderr"),
    [
        ({}, "a part\nthe result\n", "a [bold]remark[/]\n"),
        ({"quiet": True}, "a part\nthe result\n", ""),
        ({"json": True, "quiet": True}, '{\n  "result": 1\n}\n', ""),
    ],
)
def test_what_goes_where(options, stdout, stderr, capsys):
    use(Output(**options))
    assert tuple(capsys.readouterr()) == (stdout, stderr)


def test_a_closed_pipe_is_quiet(tmp_path):
    import torch

    torch.save({f"layer{i}.weight": torch.zeros(i % 7 + 1, 2) for i in range(3000)}, tmp_path / "big.pth")
    command = f"{sys.executable} -m torchgraft inspect --all {tmp_path / 'big.pth'} | head -1"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "big.pth" in run.stdout
    assert run.stderr == ""


def test_a_terminal_without_the_symbols_gets_question_marks(tmp_path):
    import torch

    torch.save({"weight": torch.zeros(2)}, tmp_path / "x.pth")
    run = subprocess.run(
        [sys.executable, "-m", "torchgraft", "inspect", str(tmp_path / "x.pth"), "--select", "nothing"],
        capture_output=True,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
        check=False,
    )
    assert run.returncode == 3
    assert run.stderr.startswith(b"? ")


def test_warnings_of_the_library_are_remarks(capsys):
    logger = logging.getLogger("torchgraft.somewhere")
    output = Output()
    with output.hearing("torchgraft"):
        logger.warning("look %s", "here\x1b[2J")
        logger.info("of no interest")
    assert logging.getLogger("torchgraft").handlers == []
    assert capsys.readouterr().err == "note: look here\\x1b[2J\n"
