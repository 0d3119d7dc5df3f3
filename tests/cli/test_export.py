"""`torchgraft export` as a user runs it."""

import json

import pytest
import torch


@pytest.fixture
def run(place, photos, call):
    """A run folder of the tiny net, trained for a moment."""
    pytest.importorskip("accelerate")
    result = call("finetune", "tiny_net:build", photos, "-o", "run", "--weights", "tiny.pth", "--quiet")
    assert result.exit_code == 0, result.output
    return place / "run"


def test_a_state_dict_by_its_hash(place, call):
    result = call("export", "tiny_net:build", "--weights", "tiny.pth", "-o", "t.pth", "--hash-name", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["format"] == "torchvision"
    state = torch.load(said["path"], weights_only=True)
    before = torch.load("tiny.pth", weights_only=True)
    assert all(torch.equal(state[name.removeprefix("module.")], value) for name, value in before.items())


def test_back_into_the_checkpoints_names(place, call):
    call("plan", "tiny_net:build", "tiny.pth", "--save", "plan.json")
    arguments = ["export", "tiny_net:build", "--weights", "tiny.pth", "-o", "back.pth", "--like", "tiny.pth"]
    for more in ([], ["--plan", "plan.json"], ["--sizes", "checkpoint"]):
        result = call(*arguments, *more)
        assert result.exit_code == 0, result.output
        state, before = (torch.load(name, weights_only=True) for name in ("back.pth", "tiny.pth"))
        assert list(state) == list(before)
        assert all(torch.equal(state[name], value) for name, value in before.items())


def test_a_runs_card_has_its_metrics(run, call):
    result = call("export", "run", "--builder", "tiny_net:build", "-o", "README.md", "--card", "license=mit",
                  "--card", "datasets=a,b")  # fmt: skip
    assert result.exit_code == 0, result.output
    text = (run.parent / "README.md").read_text()
    accuracy = json.loads((run / "metrics.json").read_text())["accuracy"]
    assert f"| Accuracy | {accuracy:.4f} |" in text
    assert "license: mit\n" in text
    assert "datasets:\n- a\n- b\n" in text
    assert "classes: 2: dark, light" in text


def test_a_graph(place, call):
    result = call("export", "tiny_net:build", "--weights", "tiny.pth", "-o", "t.pt2")
    assert result.exit_code == 0, result.output
    assert "torch.export, outputs are equal bit for bit on 3 inputs" in " ".join(result.output.split())
    assert torch.export.load("t.pt2").module()(torch.rand(4, 3, 224, 224)).shape == (4, 10)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "out"], 8, "says which format"),
        (["-o", "out", "--format", "timm"], 8, "was not built by timm"),
        (["-o", "out.pth", "--card", "license"], 2, "is not KEY=VALUE"),
        (["-o", "out", "--format", "tflite"], 2, "tflite"),
        (["-o", "out.pth", "--like", "absent.pth"], 3, "no such file"),
    ],
)
def test_refused(arguments, code, message, place, call):
    result = call("export", "tiny_net:build", "--weights", "tiny.pth", *arguments)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.split())
    assert not list(place.glob("out*"))
