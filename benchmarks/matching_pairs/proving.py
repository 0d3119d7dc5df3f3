"""Checks each pair itself: it can be solved, its tensors differ, and each of them tells in the output."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

import torch

from matching_pairs.judge import Case, prepare
from matching_pairs.oracle import solve
from matching_pairs.pairs import Pair, State
from matching_pairs.weights import call

__all__ = ["Proof", "misplaced", "prove"]

SAMPLE = 24


@dataclass(frozen=True)
class Proof:
    """`off`: how far the outputs are apart with weights placed by value; `mute`: tensors that don't tell."""

    pair: str
    off: float | None
    unsolved: int
    twins: int
    mute: list[str]
    depends: bool

    @property
    def holds(self) -> bool:
        return (self.off is None or self.off < 1e-4) and not self.twins and self.depends


@torch.no_grad()
def prove(pair: Pair) -> Proof:
    case = prepare(pair)
    if pair.check is not None:
        return Proof(pair.name, None, 0, 0, [], True)
    generator = torch.Generator().manual_seed(5)
    other = call(pair.source, case.source, pair.inputs(generator))
    mine = call(pair.source, case.source, case.inputs)
    depends = _apart(other, mine) > 1e-2
    mute = _mute(case, mine)
    state = {n: t.detach() for n, t in case.source.state_dict().items() if t.is_floating_point()}
    seen: set[bytes] = set()
    tensors = {tensor.data_ptr(): tensor for tensor in state.values()}.values()
    for tensor in tensors:
        seen.add(str(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes()[:4096])
    twins = len(tensors) - len(seen)
    if pair.truth is not None or pair.expect != "solve":
        return Proof(pair.name, None, 0, twins, mute, depends)
    if pair.oracle is not None:
        pair.oracle(case.source, case.target, case.inputs)
        off, unsolved = _apart(call(pair.target, case.target, case.inputs), mine), 0
    else:
        off, unsolved = solve(pair, case.source, case.target, case.inputs)
    return Proof(pair.name, off, unsolved, twins, mute, depends)


@torch.no_grad()
def misplaced(pair: Pair, loaded: State) -> list[str]:
    """Which of the target's tensors hold something else than the oracle puts there, and what that is."""
    case = prepare(pair)
    (pair.oracle or (lambda *models: solve(pair, *models)))(case.source, case.target, case.inputs)
    right = {name: tensor.float() for name, tensor in case.target.state_dict().items()}
    source = {name: tensor.float() for name, tensor in case.source.state_dict().items()}
    found = []
    for name, tensor in loaded.items():
        if not tensor.is_floating_point() or torch.allclose(tensor, right[name], atol=1e-6):
            continue
        held = [n for n, t in source.items() if t.numel() == tensor.numel() and _same(t, tensor)]
        wanted = [n for n, t in source.items() if t.numel() == tensor.numel() and _same(t, right[name])]
        found.append(f"{name}: holds {(held or ['?'])[0]}, should {(wanted or ['?'])[0]}")
    return found


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(torch.allclose(a.flatten().sort().values, b.flatten().sort().values, atol=1e-6))


def _apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def _mute(case: Case, mine: torch.Tensor) -> list[str]:
    """Which of some tensors, changed, leave the output as it is."""
    names = [n for n, t in case.source.state_dict().items() if t.is_floating_point()]
    chosen = random.Random(zlib.crc32(case.pair.name.encode())).sample(names, min(SAMPLE, len(names)))
    state = case.source.state_dict()
    mute = []
    for name in chosen:
        kept = state[name].clone()
        state[name].mul_(1.3).add_(0.1)
        changed = call(case.pair.source, case.source, case.inputs)
        state[name].copy_(kept)
        if not _apart(changed, mine) > 1e-3:
            mute.append(name)
    return mute
