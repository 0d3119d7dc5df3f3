"""`torchgraft zoo`: what it lists and shows, aligned in 80 columns, and as JSON."""

from __future__ import annotations

import json

import pytest
import torchvision
from huggingface_hub import constants

import torchgraft as tg

MNASNETS = """\
model                    params    input  classes  accuracy      file
torchvision/mnasnet0_5   2.22 M  224×224     1000     67.73   8.6 MiB
torchvision/mnasnet0_75  3.17 M  224×224     1000     71.18  12.3 MiB
torchvision/mnasnet1_0   4.38 M  224×224     1000     73.46  16.9 MiB
torchvision/mnasnet1_3   6.28 M  224×224     1000     76.51  24.2 MiB
4 models; figures of the default weights, as far as libraries state them
"""


@pytest.fixture(autouse=True)
def narrow(call, tmp_path, monkeypatch):
    """80 columns, after `call` has said 100; no files of the user's own."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TORCHGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def lines(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def test_list(call):
    result = call("zoo", "list", "torchvision/mnas*")
    assert result.exit_code == 0
    assert lines(result.stdout) == MNASNETS


def test_list_marks_what_is_here(call, tmp_path):
    name = torchvision.models.MNASNet0_5_Weights.DEFAULT.url.rpartition("/")[2]
    file = tmp_path / "torch" / "hub" / "checkpoints" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"123")
    shown = lines(call("zoo", "list", "torchvision/mnas*").stdout).splitlines()
    assert shown[0].endswith("file  here")
    assert shown[1].endswith(" 3 bytes  yes")
    assert [line.endswith("yes") for line in shown[2:]] == [False] * 4


def test_list_fits_80_columns_and_says_how_many(call):
    shown = lines(call("zoo", "list").stdout)
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.splitlines()[-1].startswith(f"{len(tg.list_models()):,} models")


def test_list_as_json(call):
    data = json.loads(call("zoo", "list", "timm/resnet1*", "--published", "--json").stdout)
    assert [model["name"] for model in data["models"]] == tg.list_models("timm/resnet1*", published=True)
    assert "labels" not in data["models"][0]["weights"][0]
    assert call("zoo", "list", "zzz*").stdout == "no model has such a name\n"
    assert json.loads(call("zoo", "list", "zzz*", "--json").stdout) == {"models": []}


def test_show(call):
    shown = lines(call("zoo", "show", "torchvision/resnet18").stdout)
    assert max(map(len, shown.splitlines())) <= 80
    for part in (
        "torchvision/resnet18\n  parameters  11,689,512\n",
        "  weights     IMAGENET1K_V1 (default)\n",
        "    classes   1,000: tench, goldfish, great white shark, tiger shark,",
        "    input     3 × 224 × 224; the shorter side resized to 256 (bilinear), mean",
        "    accuracy  ImageNet-1K: acc@1 69.758, acc@5 89.078\n",
        "    licence   the library does not say\n",
        "    file      44.7 MiB\n",
        "    from      https://download.pytorch.org/models/resnet18-f37072fd.pth\n",
        "    here      no: it is downloaded when it is used\n",
    ):
        assert part in shown


def test_show_of_timm(call):
    shown = lines(call("zoo", "show", "timm/resnet10t").stdout)
    assert "    licence   apache-2.0\n" in shown
    assert "    accuracy  the library does not say\n" in shown
    assert "    file      of a size that is not published\n" in shown
    assert "none are published" in call("zoo", "show", "timm/resnet50t").stdout


def test_show_as_json_with_a_note_on_a_near_name(call):
    result = call("zoo", "show", "ResNet-18")
    assert result.exit_code == 0
    assert "note: 'ResNet-18' is taken to be 'torchvision/resnet18'" in result.stderr
    data = json.loads(call("zoo", "show", "torchvision/resnet18", "--json").stdout)
    assert data == json.loads(json.dumps(tg.published("torchvision/resnet18").to_json()))
    assert len(data["weights"][0]["labels"]) == 1000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "torchvision/resnet81"], 6, 'did you mean "torchvision/resnet18"'),
        (["list", "keras/*"], 6, "torchvision, timm, hf"),
        (["show"], 2, "takes the NAME"),
        (["show", "timm/resnet18", "--published"], 2, "--published is for list"),
        (["sing"], 2, "sing"),
    ],
)
def test_what_is_wrong(arguments, code, message, call):
    result = call("zoo", *arguments)
    assert (result.exit_code, message in result.stderr.replace("\n", " ")) == (code, True), result.stderr


class Terminal:
    def __init__(self) -> None:
        self.text = ""

    def show(self, content: str) -> None:
        self.text += content


@pytest.mark.parametrize(("lines", "paged"), [(9, False), (11, True)])
def test_what_is_longer_than_the_terminal_comes_by_the_pager(lines, paged, monkeypatch):
    from rich.pager import SystemPager

    from torchgraft.cli.output import Output

    pager = Terminal()
    monkeypatch.setattr(SystemPager, "show", lambda self, content: pager.show(content))
    output = Output()
    monkeypatch.setattr(type(output._results), "is_terminal", property(lambda self: True))
    monkeypatch.setattr(type(output._results), "height", property(lambda self: 10))
    output.result("text", dict, lines=lines)
    assert bool(pager.text) == paged
