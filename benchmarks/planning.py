"""How long planning takes against the number of tensors: does it grow like the model, or faster?

Networks of two invented code bases, as deep as it takes, on the meta device, where nothing is computed.
`match` is the pairing of names and shapes alone; `plan` is all of `torchgraft.plan`, with a run of the model
where names leave a tie. One core; the best of three runs, or one run where that takes long.

    python benchmarks/planning.py                           # 1,000 to 30,000 tensors
    python benchmarks/planning.py --sizes 3000 --profile    # and where each plan's time went
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from planning_models import SUBJECTS, Subject

import torchgraft as tg
from torchgraft.matching import match
from torchgraft.planning.targets import targets_of
from torchgraft.tensors import Named

SIZES = (1_000, 3_000, 10_000, 30_000)
LONG = 5.0
"""Seconds from which one run is enough."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="how many tensors, about")
    parser.add_argument("--only", nargs="+", default=(), help="subjects whose name contains one of these")
    parser.add_argument("--profile", action="store_true", help="show where each plan's time went")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| names | tensors | match s | µs a tensor | plan s | µs a tensor | right |")
    print("|---|---|---|---|---|---|---|")
    for subject in SUBJECTS:
        if not options.only or any(word in subject.name for word in options.only):
            for size in options.sizes:
                print(row(subject, size, profile=options.profile), flush=True)


def row(subject: Subject, size: int, *, profile: bool) -> str:
    blocks = max(4, round(size / subject.tensors))
    with torch.device("meta"):
        source, target = subject.source(blocks).eval(), subject.target(blocks).eval()
    weights = {subject.prefix + name: tensor for name, tensor in source.state_dict().items()}
    ours = [Named(name, tuple(tensor.shape)) for name, tensor in weights.items()]
    theirs = [found.named for found in targets_of(target).values()]
    kind = torch.float32 if len(subject.example) > 2 else torch.long
    example = torch.zeros(subject.example, dtype=kind, device="meta")
    count = max(len(ours), len(theirs))

    def shown(seconds: float | None) -> str:
        return "refused | " if seconds is None else f"{seconds:.2f} | {1e6 * seconds / count:.0f}"

    matched = timed(lambda: match(ours, theirs))[1]
    with cProfile.Profile() if profile else nullcontext() as profiler:
        plan, planned = timed(lambda: tg.plan(target, weights, example=example))
    if isinstance(profiler, cProfile.Profile):
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(40)
    found = {entry.name: entry.sources for entry in plan} if isinstance(plan, tg.Plan) else {}
    right = sum(found.get(name.name, ())[:1] == (subject.origin(name.name),) for name in theirs)
    return f"| {subject.name} | {count} | {shown(matched)} | {shown(planned)} | {right} of {len(theirs)} |"


def timed(work: Callable[[], object]) -> tuple[object, float | None]:
    """What it gives, and the seconds of the best run; none if it is refused."""
    best = float("inf")
    result: object = None
    for _ in range(3):
        began = time.perf_counter()
        try:
            result = work()
        except tg.MatchError:
            return None, None
        best = min(best, time.perf_counter() - began)
        if best > LONG:
            break
    return result, best


if __name__ == "__main__":
    main()
