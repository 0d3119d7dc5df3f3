"""`--html`: each command that has it writes a page, says where, and goes on as before."""

import json
import subprocess
import sys

import pytest
import torch

import torchgraft as tg

MODEL = "tiny_net:build"
COMMANDS = {
    "inspect": ("inspect", "tiny.pth"),
    "inspect with values": ("inspect", "tiny.pth", "--values"),
    "diff": ("diff", "tiny.pth", "tiny.pth"),
    "diff with values": ("diff", "tiny.pth", "tiny.pth", "--values"),
    "plan": ("plan", MODEL, "tiny.pth"),
    "graft": ("graft", MODEL, "tiny.pth", "-o", "out.pth"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_is_written_and_named(name, place, call):
    plain = call(*COMMANDS[name])
    result = call(*COMMANDS[name], "--html", "page.html")
    assert result.exit_code == 0, result.output
    assert "report: page.html" in result.stderr
    assert result.stdout == plain.stdout
    assert (place / "page.html").read_text("utf-8").startswith("<!doctype html>")
    assert call(*COMMANDS[name], "--html", "quiet.html", "--quiet").stderr == ""
    data = json.loads(call(*COMMANDS[name], "--html", "page.html", "--json").stdout)
    assert data["report"] == "page.html"


def test_a_page_of_a_refused_graft_says_what_to_copy(place, call):
    torch.save({k: v for k, v in torch.load("tiny.pth").items() if not k.startswith("module.8")}, "part.pth")
    result = call("graft", MODEL, "part.pth", "-o", "out.pth", "--html", "page.html")
    assert result.exit_code == 5
    assert not (place / "out.pth").exists()
    text = (place / "page.html").read_text("utf-8")
    assert "The gate is closed" in text
    assert "--allow-fresh head" in text
    assert "def convert(source" in text


def test_what_is_odd_about_values(place, call):
    tensors = {k.removeprefix("module."): v for k, v in torch.load("tiny.pth").items()}
    tensors |= {
        "nan.weight": torch.tensor([1.0, torch.nan]),
        "dead.weight": torch.zeros(3),
        "count": torch.tensor(0),
    }
    torch.save(tensors, "odd.pth")
    lines = [" ".join(line.split()) for line in call("inspect", "odd.pth", "--values").stdout.splitlines()]
    assert "✗ 1 tensor NaN or infinite nan.weight" in lines
    assert any(line.startswith("○") and "dead.weight" in line and "count" not in line for line in lines)
    found = {
        t["name"]: t["values"]
        for t in json.loads(call("inspect", "odd.pth", "--values", "--json").stdout)["tensors"]
    }
    assert found["nan.weight"]["nan"] == 1
    assert found["dead.weight"]["zeros"] == 3


def test_a_page_of_a_header_needs_no_pytorch(place):
    code = (
        "import sys\n"
        "from torchgraft.cli import commands\n"
        "try: commands(['inspect', 'tiny.pth', '--html', 'page.html'])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_same_from_python(place):
    opened = tg.open("tiny.pth")
    assert "one value throughout" in tg.write_report(opened, "a.html").read_text("utf-8")
    assert "Only the header was read" in tg.write_report(opened, "b.html", values=False).read_text("utf-8")
    assert "They are the same" in tg.write_report(tg.diff(opened, opened, values=True), "c.html").read_text(
        "utf-8"
    )
    plan = tg.plan(torch.nn.Linear(2, 2), {"weight": torch.ones(2, 2), "bias": torch.ones(2)})
    assert "The gate is open" in tg.write_report(plan, "d.html").read_text("utf-8")
