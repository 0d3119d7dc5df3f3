"""There and back: `restore` gives the checkpoint's tensors bit for bit, `python` a script that does the same.

One table of varied pairs for both; what is expected is never ours: the source's own state dict on the way
back, what `apply` wrote on the way there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import torchgraft as tg
from round_trips import CASES, Fused, Split, State, source, unlike


@pytest.fixture(params=CASES, ids=[name.replace(" ", "-") for name in CASES])
def grafted(request: pytest.FixtureRequest) -> tuple[nn.Module, State, tg.Plan]:
    torch.manual_seed(3)
    model, state, arguments = CASES[request.param]()
    plan = tg.plan(model, {key: value.clone() for key, value in state.items()}, **arguments)
    plan.apply()
    return model, state, plan


def test_what_was_not_changed_comes_back_bit_for_bit(grafted):
    model, state, plan = grafted
    restored = plan.restore(model)
    assert list(restored) == list(state)
    assert unlike(restored, state) == []
    assert all(value.is_contiguous() for value in restored.values())
    unused = [entry.name for entry in plan.sources if entry.status == "unused"]
    assert all(any(name in note for note in restored.notes) for name in unused[:3])


def test_a_plan_from_a_file_does_the_same_with_the_checkpoint_as_base(grafted, tmp_path):
    model, state, plan = grafted
    plan.save(tmp_path / "plan.json")
    kept = tg.Plan.load(tmp_path / "plan.json")
    assert kept == plan
    assert unlike(kept.restore(model.state_dict(), base=state), state) == []


def test_the_script_does_what_the_plan_did(grafted):
    model, state, plan = grafted
    text = plan.python()
    assert "torchgraft" not in text.split('"""', 2)[2]
    assert max(map(len, text.splitlines())) <= 120
    made = run(text)(state)
    wrote = model.state_dict()
    assert set(made) == {entry.name for entry in plan if entry.status != "fresh"}
    assert unlike({key: value.to(wrote[key].dtype) for key, value in made.items()}, wrote) == []


def run(text: str) -> Callable[[State], State]:
    namespace: dict[str, Any] = {}
    exec(compile(text, "convert.py", "exec"), namespace)
    return namespace["convert"]


def test_the_cases_are_what_they_say():
    ops = set()
    joined = 0
    for case in CASES.values():
        model, state, arguments = case()
        for entry in tg.plan(model, state, **arguments):
            ops |= {op.name for op in (*entry.ops, *(op for part in entry.joined for op in part.ops))}
            joined += bool(entry.joined)
    assert ops == {"permute", "reshape", "block", "pointwise", "input-channels", "rows"} - {"reshape"}
    assert joined


def test_a_script_is_short_and_reads_like_one():
    """Blocks are a loop, whatever stands before their number; what differs in the leaf only is another."""
    plan = tg.plan(Fused(), source(Split()))
    assert plan.python() == GOLDEN


GOLDEN = '''"""Weights of one naming into another, as torchgraft planned it.

    model.load_state_dict(convert(weights))
"""

import torch


def convert(source: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """weights in memory → Fused, 20 tensors."""
    target: dict[str, torch.Tensor] = {}
    for i in range(2):
        new = f"blocks.{i}"
        old = f"layer.{i}"
        for leaf in ("weight", "bias"):
            target[f"{new}.norm.{leaf}"] = source[f"{old}.norm.{leaf}"]
            target[f"{new}.qkv.{leaf}"] = torch.cat([
                source[f"{old}.query.{leaf}"],
                source[f"{old}.key.{leaf}"],
                source[f"{old}.value.{leaf}"],
            ])
            target[f"{new}.proj.{leaf}"] = source[f"{old}.proj.{leaf}"]
            target[f"{new}.fc1.{leaf}"] = source[f"{old}.fc1.{leaf}"]
            target[f"{new}.fc2.{leaf}"] = source[f"{old}.fc2.{leaf}"]
    return target
'''
