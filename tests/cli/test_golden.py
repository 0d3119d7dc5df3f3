"""What each command prints: whole transcripts in `golden/`, 80 columns wide and without colour.

When a change of them is meant: `UPDATE_GOLDEN=1 pytest tests/cli/test_golden.py`, and read the diff.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import torchgraft as tg
from torchgraft.cli import commands, installation
from torchgraft.cli.contents import COMMANDS

GOLDEN = Path(__file__).parent / "golden"
WIDTH = 80

LIGHT = """
import torch
from torch import nn

def build() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.fill_(0.25)
        net[0].bias.zero_()
        net[3].weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
        net[3].bias.zero_()
    return net
"""
"""Tells dark photos from light ones, by sums that any machine gets right to many digits."""

CASES = {
    "help": ["--help", "plan --help"],
    "inspect": ["inspect tiny.pth", "inspect two_sets.pth --select model", "inspect absent.pth"],
    "values": ["inspect tiny.pth --values"],
    "diff": ["diff tiny.pth tiny.pth", "diff tiny.pth half.pth"],
    "plan": ["plan tiny_net:build tiny.pth"],
    "plan_refused": ["plan tiny_net:build half.pth --rename module.="],
    "plan_without_names": ["plan tiny_net:build foreign.pth"],
    "graft": [
        "graft tiny_net:build tiny.pth -o out --in-channels 4 --num-classes 3",
        "graft tiny_net:build half.pth -o other --rename module.=",
    ],
    "adapt": [
        "adapt tiny_net:build --weights zeros.pth --num-classes 3 --in-channels 1 -o new",
        "adapt tiny_net:build --weights zeros.pth -o new",
    ],
    "convert": ["convert tiny.pth -o new.safetensors", "convert tiny.pth -o x.pth --dtype flaot16"],
    "zoo": ["zoo show torchvision/mnasnet0_5", "zoo show torchvision/mnasnet0_6"],
    "doctor": ["doctor"],
    "predict": ["predict light photos/dark/00.png photos/light/00.png --builder light_net:build --top 1"],
    "evaluate": ["evaluate light photos --builder light_net:build --mistakes 2"],
    "finetune": [
        "finetune light photos -o run --builder light_net:build --recipe full --dry-run",
        "finetune light photos -o run --builder light_net:build --recipe ful",
    ],
    "mistakes": [
        "inpsect tiny.pth",
        "plan tiny_net:build tiny.pth --match exakt",
        "plan tiny_net:build tiny.pth --head 9",
        "plan tiny_net:build foreign.pth --rename embeding.=x.",
        "plan tiny_net:build half.pth --rename module.= --allow-fresh 9,haed",
        "inspect two_sets.pth --select modle",
        "finetune light photos -o run --builder light_net:build --set headlr=5 --recipe full",
    ],
}
"""Name of the transcript → command lines."""


@pytest.fixture
def files(place: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the command lines above speak of."""
    weights = torch.load("tiny.pth", weights_only=True)
    torch.save({name: t for name, t in weights.items() if not name.startswith("module.3.")}, "half.pth")
    torch.save({name: torch.zeros_like(t) for name, t in weights.items()}, "zeros.pth")
    torch.save({"model": weights, "discriminator": dict(list(weights.items())[:6])}, "two_sets.pth")
    torch.save({"embedding": torch.zeros(7, 11), "scale": torch.zeros(13)}, "foreign.pth")
    Path("light_net.py").write_text(LIGHT)
    monkeypatch.delitem(sys.modules, "light_net", raising=False)
    import light_net

    model = light_net.build()
    how = tg.Preprocessing(size=(32, 32), crop=1.0, mean=(0.5,) * 3, std=(0.25,) * 3)
    tg.describe(model, labels=["dark", "light"], preprocessing=how)
    tg.save(model, "light")
    Path("photos/dark/00.png").replace("photos/light/12.png")  # a mistake to be found
    Path("photos/light/00.png").replace("photos/dark/00.png")
    Path("photos/light/12.png").replace("photos/light/00.png")
    for name in ("TORCHGRAFT_CACHE", "TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(place / "cache"))
    monkeypatch.setattr(installation, "installation", lambda: INSTALLED)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.delenv("TORCHGRAFT_DEBUG", raising=False)
    return place


INSTALLED = installation.Installation(
    torchgraft="1.2.3",
    machine={"Python": "3.11.4 (CPython)", "system": "Linux 6.1.0, x86_64", "processors": "8"},
    torch={"version": "2.14.1", "threads": "8", "cuda:0": "NVIDIA H100, 78 GiB"},
    parts=(
        installation.Part("click", ">=8.1", "8.5.1", None, True),
        installation.Part("timm", ">=1", "1.0.20", "vision", True),
        installation.Part("peft", ">=0.10", None, "train", True),
    ),
    cache={"folder": "/home/me/.cache/torchgraft", "files": 2, "bytes": 123456789, "free": 10**11},
    settings={"OMP_NUM_THREADS": "1"},
    problems=("peft is too old",),
)


def transcript(line: str, place: Path) -> str:
    """The command line, what it printed on stdout and on stderr, and its exit code."""
    result = CliRunner().invoke(commands, shlex.split(line), prog_name="torchgraft")
    printed = "".join(
        f"{mark}{text.rstrip()}".rstrip() + "\n"
        for mark, stream in (("", result.stdout), ("! ", result.stderr))
        for text in stream.splitlines()
    )
    plain = re.sub(r"\b\d+\.\d+ s\b", "… s", printed.replace(str(place), "…"))
    return f"$ torchgraft {line}\n{plain}→ {result.exit_code}\n"


@pytest.mark.parametrize("name", CASES)
def test_is_what_was_agreed(name, files):
    found = "\n".join(transcript(line, files) for line in CASES[name])
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(found, "utf-8")
    assert found == path.read_text("utf-8")


def test_every_transcript_is_of_a_case():
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


def is_narrow(line: str) -> bool:
    """At most 80 columns, but for a key or path that is long by itself, and remarks, which stay whole."""
    text = line.removeprefix("! ")
    return len(text) <= WIDTH or max(map(len, text.split())) > WIDTH // 2 or text.startswith("note: ")


@pytest.mark.parametrize("name", CASES)
def test_80_columns_hold(name):
    lines = (GOLDEN / f"{name}.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not line.startswith("$ ") and not is_narrow(line)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_80_columns_hold_in_the_help(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    shown = CliRunner().invoke(commands, [command, "--help"]).stdout
    assert [line for line in shown.splitlines() if not is_narrow(line)] == []
