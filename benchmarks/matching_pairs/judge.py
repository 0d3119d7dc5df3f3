"""Loads one pair by a method and says what came of it; no answer is written down, the outputs tell."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from matching_pairs.pairs import Pair, State
from matching_pairs.weights import call, fill

__all__ = ["Case", "Outcome", "Refused", "Result", "judge", "prepare"]

Outcome: TypeAlias = Literal["solved", "false alarm", "refused", "flagged mis-load", "MIS-LOAD", "crash"]
TOLERANCE = 1e-4
RIGHT = {
    "solve": ("solved",),
    "refuse": ("refused", "flagged mis-load", "false alarm"),
    "careful": ("solved", "refused", "flagged mis-load", "false alarm"),
}


class Refused(Exception):  # noqa: N818 - a refusal is no error here
    """A method declined; its words."""


@dataclass(frozen=True)
class Case:
    """A pair whose models are built and filled.

    Attributes:
        held: What the user holds of the source's weights.
        target: The model to load into; it has other weights.
        before: The target's state before loading.
        inputs: What both are run on.
        expected: The source's output.
        truth: What the target's tensors must be, where that is known.
    """

    pair: Pair
    source: nn.Module
    held: Any
    target: nn.Module
    before: State
    inputs: torch.Tensor
    expected: torch.Tensor | None
    truth: State | None


@dataclass(frozen=True)
class Result:
    """What came of one pair by one method."""

    pair: str
    family: str
    method: str
    outcome: Outcome
    right: bool
    message: str
    seconds: float
    tensors: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def prepare(pair: Pair) -> Case:
    seed = zlib.crc32(pair.name.encode())
    torch.manual_seed(seed % 2**31)
    generator = torch.Generator().manual_seed(seed)
    inputs = pair.inputs(generator)
    with torch.no_grad():
        source, target = pair.source.build().eval(), pair.target.build().eval()
        fill(pair.source, source, inputs, seed)
        fill(pair.target, target, None, seed + 1)
        expected = None if pair.truth or pair.check else call(pair.source, source, inputs)
    state = {name: tensor.detach() for name, tensor in source.state_dict().items()}
    truth = pair.truth(state) if pair.truth else None
    before = {name: tensor.detach().clone() for name, tensor in target.state_dict().items()}
    return Case(pair, source, pair.held(state), target, before, inputs, expected, truth)


def judge(case: Case, method: str, load: Callable[[Case], tuple[float, list[str]]]) -> Result:
    """`load` writes into the case's target and returns its seconds and doubts, or raises `Refused`."""
    began = time.perf_counter()
    pair = case.pair

    def result(outcome: Outcome, message: str, seconds: float | None = None) -> Result:
        taken = time.perf_counter() - began if seconds is None else seconds
        right = outcome in RIGHT[pair.expect]
        return Result(pair.name, pair.family, method, outcome, right, message, taken, len(case.before))

    try:
        seconds, doubts = load(case)
    except Refused as refusal:
        return result("refused", str(refusal))
    except Exception as error:  # a method that crashes is counted as such
        return result("crash", f"{type(error).__name__}: {error}")
    fault = _fault(case)
    said = "; ".join(doubts)
    if fault is None:
        return result("false alarm" if doubts else "solved", said, seconds)
    return result("flagged mis-load" if doubts else "MIS-LOAD", f"{fault} {said}".strip(), seconds)


@torch.no_grad()
def _fault(case: Case) -> str | None:
    """What is wrong with the loaded target, if anything."""
    if case.pair.check is not None:
        return case.pair.check(case.target)
    if case.truth is not None:
        return _wrong_tensors(case, case.truth)
    got = call(case.pair.target, case.target.eval(), case.inputs)
    expected = case.expected
    assert expected is not None
    if got.shape != expected.shape:
        return f"the output has shape {list(got.shape)}, the source's {list(expected.shape)}"
    off = float((got - expected).abs().max() / expected.abs().max())
    if not off <= TOLERANCE:  # NaN is wrong too
        return f"the outputs differ by {off:.1e} of their largest"
    return None


def _wrong_tensors(case: Case, truth: State) -> str | None:
    state = case.target.state_dict()
    wrong = []
    for name, tensor in state.items():
        right = truth.get(name, case.before[name])
        if name.endswith("num_batches_tracked"):
            continue
        if not torch.equal(tensor, right.reshape(tensor.shape) if right.numel() == tensor.numel() else right):
            wrong.append(name)
    return f"{len(wrong)} tensors hold wrong values, as {wrong[0]}" if wrong else None
