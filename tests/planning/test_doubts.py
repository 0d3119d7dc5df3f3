"""What weak evidence decided is said as such, wherever a plan is shown or kept."""

from __future__ import annotations

import pytest
import torch
from rich.console import Console
from torch import nn

import torchgraft as tg
from round_trips import Fused, Split, net, source, under
from torchgraft.report.page import GraftSection, Page, write_html
from torchgraft.report.terminal import plan_view


@pytest.fixture
def doubtful():
    """Of a model deeper than the checkpoint the first blocks are filled."""
    deep = torch.nn.Sequential(
        *[torch.nn.Sequential(torch.nn.Linear(4, 9), torch.nn.Linear(9, 4)) for _ in range(3)]
    )
    shapes = {"up.weight": (9, 4), "up.bias": (9,), "down.weight": (4, 9), "down.bias": (4,)}
    state = {f"l.{i}.{name}": torch.rand(shape) for i in range(2) for name, shape in shapes.items()}
    return tg.plan(deep, state, allow_fresh="2")


def test_blocks_of_another_depth_are_a_doubt(doubtful):
    (doubt,) = doubtful.doubts
    assert doubt.endswith("the first 2 are taken")


def test_a_choice_among_copies_that_the_policy_makes_is_noted():
    state = under("student.", source(net(), 1)) | under("teacher.", source(net(), 2))
    plan = tg.plan(net(), state)
    assert plan.doubts == ()
    assert any(note.startswith("'teacher.' is taken and 'student.' is not") for note in plan.notes)
    assert all(entry.source.startswith("teacher.") for entry in plan)


def test_it_is_shown_and_kept(doubtful, tmp_path):
    line = f"doubt: {doubtful.doubts[0]}"
    assert f"  {line}\n" in str(doubtful)
    console = Console(width=300, record=True, file=(tmp_path / "shown.txt").open("w"))
    console.print(plan_view(doubtful))
    console.file.close()
    assert line in console.export_text()
    write_html(Page("title", "", (GraftSection(doubtful),), ()), tmp_path / "page.html")
    assert "are taken" in (tmp_path / "page.html").read_text("utf-8")
    doubtful.save(tmp_path / "plan.json")
    assert tg.Plan.load(tmp_path / "plan.json").doubts == doubtful.doubts


def test_a_plan_of_the_first_version_has_none(doubtful):
    data = doubtful.to_json()
    del data["doubts"]
    assert tg.Plan.from_json(data | {"torchgraft_plan": 1}).doubts == ()
    with pytest.raises(tg.TorchgraftError, match="doubts"):
        tg.Plan.from_json(data)


@pytest.mark.parametrize("state", [lambda: source(net()), lambda: under("module.", source(net()))])
def test_what_names_decide_is_no_doubt(state):
    assert tg.plan(net(), state()).doubts == ()


def test_what_structure_decides_alone_is_no_doubt():
    assert tg.plan(Fused(), source(Split())).doubts == ()


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(8, 32), nn.Linear(8, 32)
        self.down_proj = nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.near, self.far = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.far(self.near(x).relu())


@pytest.mark.parametrize(
    ("model", "names", "doubted"),
    [
        (
            Gated,
            {"gate_proj": "fc11", "up_proj": "fc12", "down_proj": "fc2"},
            True,
        ),  # NomicBERT's gate is fc12
        (Gated, {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}, False),  # LLaMA's is known
        (Chain, {"near": "fc1", "far": "fc2"}, False),  # one feeds the other: there is no other order
    ],
)
def test_numbers_of_layers_that_are_used_side_by_side(model, names, doubted) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(model() for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = x + layer(x)
            return x

    state = {
        ".".join(names.get(word, word) for word in key.split(".")): value
        for key, value in Net().state_dict().items()
    }
    plan = tg.plan(Net(), state)
    assert plan.counts["loaded"] == len(state)
    assert bool(plan.doubts) == doubted
    if doubted:
        assert "side by side, and only their numbers" in plan.doubts[0]
