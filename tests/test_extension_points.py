"""Each extension point: what CONTRIBUTING.md adds, registered as it says, and used as a user would.

The code comes from the page itself: the first block of Python under each heading is a module here.
"""

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import torchgraft as tg
from torchgraft import errors
from torchgraft.cli import commands

PAGE = Path(__file__).parent.parent / "CONTRIBUTING.md"


@pytest.fixture
def shown(tmp_path, monkeypatch) -> Callable[[str, str], ModuleType]:
    """Makes a module of this name from the code under a heading of the page."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def module(heading: str, name: str) -> ModuleType:
        section = PAGE.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        code = re.search(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        assert code is not None, heading
        (tmp_path / f"{name}.py").write_text(code[1], "utf-8")
        monkeypatch.delitem(sys.modules, name, raising=False)
        made = import_module(name)
        monkeypatch.setitem(sys.modules, name, made)  # is taken away again afterwards
        return made

    return module


def tiny(classes: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    )


def pictures(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 255, (16, 16, 3), np.uint8) for _ in range(count)]


SMALL = tg.Preprocessing(size=(16, 16), crop=1.0)


def test_a_container(shown, monkeypatch):
    from torchgraft.formats import reading

    Path("map.pfm").write_bytes(b"Pf\n3 2\n-1.0\n" + struct.pack("<6f", *range(6)))
    with pytest.raises(errors.CheckpointError):
        tg.open("map.pfm")
    floatmap = shown("Add a container", "their_format").FLOATMAP
    monkeypatch.setattr(reading, "FORMATS", (*reading.FORMATS, floatmap))
    opened = tg.open("map.pfm")
    assert opened.format == "floatmap"
    assert torch.equal(opened["pixels"].read(), torch.arange(6.0).reshape(2, 3))
    tg.convert("map.pfm", "map.safetensors")
    assert tg.diff("map.pfm", "map.safetensors", values=True).equal
    Path("cut.pfm").write_bytes(Path("map.pfm").read_bytes()[:-5])
    with pytest.raises(errors.CorruptCheckpointError):
        tg.open("cut.pfm")


def test_an_op(shown, monkeypatch):
    from torchgraft.adapting import finding

    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    weights = {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    weights["2.weight"] = torch.randn(6, 5)
    options = {"match": "exact", "example": torch.zeros(1, 4)}
    transposed = shown("Add an op", "their_op").Transposed
    with pytest.raises(errors.CoverageError, match=r"2\.weight"):
        tg.plan(model, weights, **options).apply()
    monkeypatch.setattr(finding, "_OPS", (transposed, *finding._OPS))
    plan = tg.plan(model, weights, **options)
    (entry,) = [entry for entry in plan.targets if entry.ops]
    assert (entry.name, [op.describe() for op in entry.ops]) == ("2.weight", ["rows and columns exchanged"])
    kept = tg.Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert [e.ops for e in kept.targets] == [e.ops for e in plan.targets]
    plan.apply()
    assert torch.equal(model[2].weight, weights["2.weight"].T)
    back = plan.restore(model.state_dict())
    assert all(torch.equal(back[name], tensor) for name, tensor in weights.items())


def test_a_matching_hypothesis(shown, monkeypatch):
    from torchgraft import matching

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.Conv2d(3, 3, 1)
            self.right = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.left(x) + self.right(x)

    model = Two()
    weights = {name.title(): torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    why = "same name, capitals aside"
    assert all(entry.why != why for entry in tg.plan(model, weights).targets)
    theirs = shown("Add a matching hypothesis", "their_hypothesis").match_ignoring_case
    monkeypatch.setattr(matching, "HYPOTHESES", (theirs, *matching.HYPOTHESES))
    plan = tg.plan(model, weights)
    assert all(entry.why == why for entry in plan.targets)
    plan.apply()
    assert all(torch.equal(model.state_dict()[name.lower()], tensor) for name, tensor in weights.items())


def test_a_source_of_models(shown, monkeypatch):
    from torchgraft.zoo import sources

    with pytest.raises(errors.UnknownModelError):
        tg.create_model("mylib/small")
    shown("Add a source of models", "their_source")
    monkeypatch.setitem(sources._SOURCES, "mylib", "their_source:MylibSource")
    model = tg.create_model("mylib/small")
    assert tg.info_of(model).preprocessing.size == (28, 28)
    tg.save(model, "small.pth")
    again = tg.create_model("mylib/small", weights="small.pth", num_classes=3)
    assert torch.equal(again[1].weight, model[1].weight)
    assert again(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
    tg.save(again, "folder")
    assert torch.equal(tg.load("folder")[1].weight, model[1].weight)
    with pytest.raises(errors.UnknownModelError, match='did you mean "mylib/small"'):
        tg.create_model("mylib/smal")
    with pytest.raises(errors.ModelError, match="no published weights"):
        tg.create_model("mylib/small", weights="DEFAULT")


@pytest.mark.parametrize(
    ("registered", "called"),
    [
        ("first-and-head", "first-and-head"),
        (None, "their_recipe:FirstAndHead"),
        (None, "FirstAndHead"),
    ],
    ids=["registered", "module:Class", "an object"],
)
def test_a_recipe(registered, called, shown, monkeypatch):
    from torchgraft.finetuning.recipes import RECIPES

    theirs = shown("Add a recipe", "their_recipe").FirstAndHead
    if registered is not None:
        monkeypatch.setitem(RECIPES, registered, "their_recipe:FirstAndHead")
    made = called == "FirstAndHead"
    recipe = theirs(head_lr=2.0) if made else called
    own = {} if made else {"head_lr": 2.0}
    model = tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    data = (pictures(8), ["a", "b"] * 4)
    result = tg.finetune(
        model, data, recipe=recipe, epochs=1, batch_size=4, preprocessing=SMALL, workers=0, **own
    )
    assert result.recipe == called
    changed = {n.partition(".")[0] for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {"0", "6"}
    rates = {row.name: row.lr for row in result.groups}
    assert rates == {"first": 1e-3, "head": 2e-3, "frozen": None}


def test_a_recipe_is_known_to_the_command_line(shown, monkeypatch):
    from torchgraft.finetuning.recipes import RECIPES

    monkeypatch.setitem(RECIPES, "first-and-head", "their_recipe:FirstAndHead")
    wrong = CliRunner().invoke(commands, ["finetune", "m", "d", "-o", "run", "--recipe", "first-and-heads"])
    assert wrong.exit_code == 2
    assert "Did you mean 'first-and-head'?" in wrong.stderr


def test_a_task(shown, monkeypatch):
    from torchgraft.finetuning import Images
    from torchgraft.finetuning.tasks import TASKS

    grades = shown("Add a task", "their_task").Grades
    monkeypatch.setitem(TASKS, "grades", "their_task:Grades")
    labels = tuple([0, 1, 2] * 4)
    names = tuple(f"image {index}" for index in range(12))
    images = Images(pictures(12), labels, ("low", "middle", "high"), names, task="grades")
    model = tiny(3)
    result = tg.finetune(
        model, images, recipe="full", epochs=2, batch_size=4, preprocessing=SMALL, workers=0, seed=1
    )
    assert result.classes == ("low", "middle", "high")
    assert tg.info_of(model).task == "grades"
    found = tg.evaluate(model, images)
    assert found.count == 12
    with pytest.raises(errors.DataError, match="plain labels can't be made those of the task 'grades'"):
        tg.finetune(tiny(3), (pictures(12), list(labels)), task="grades", preprocessing=SMALL)
    scores = torch.tensor([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]])
    near, far = (float(grades().loss(scores[:1], torch.tensor([label]))) for label in (1, 2))
    assert near < far


def test_a_command(shown, monkeypatch, tmp_path):
    from torchgraft.cli import contents

    def call(*arguments: str):
        return CliRunner().invoke(commands, list(arguments))

    torch.save({"a": torch.zeros(2), "b": torch.zeros(3)}, tmp_path / "two.pth")
    assert call("count", "two.pth").exit_code == 2
    line = "How many tensors a checkpoint has."
    monkeypatch.setitem(sys.modules, "torchgraft.cli.count", shown("Add a command", "their_command"))
    monkeypatch.setitem(contents.SECTIONS["Look"], "count", line)
    monkeypatch.setitem(contents.COMMANDS, "count", line)  # which is made of SECTIONS
    assert call("count", "two.pth").stdout == "2 tensors\n"
    assert json.loads(call("count", "two.pth", "--json").stdout) == {"file": "two.pth", "tensors": 2}
    assert call("count", "absent.pth").exit_code == 3
    assert line in call("--help").stdout
    assert "Did you mean 'count'?" in call("cuont").stderr
