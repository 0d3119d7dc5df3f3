"""Matching any naming to any naming: how many pairs of models load, and how many load wrongly without a word.

Each pair is two implementations of one architecture. The source gets seeded random weights in which every
tensor tells; a method loads what a user would hold of them into the target; the outputs say if it is right.

    python benchmarks/matching.py                     # our own matcher over the tuned-on pairs and the traps
    python benchmarks/matching.py --only resnet vit   # pairs whose name contains one of these
    python benchmarks/matching.py --baselines         # others beside it
    python benchmarks/matching.py --heldout           # totals over pairs that nobody looks at while tuning
    python benchmarks/matching.py --prove             # that each pair can be solved, without torchgraft

Needs `pip install -e '.[bench]'`; the collections that declare far more than their models need come with
`pip install --no-deps`: pytorchcv, open_clip_torch, ftfy, wcwidth, efficientnet_pytorch, pretrainedmodels,
munch, six, segmentation-models-pytorch, weightbridge, einx.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "torch")
sys.path.insert(0, str(Path(__file__).parent))
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

from matching_pairs.baselines import BASELINES  # noqa: E402
from matching_pairs.catalogue import choose  # noqa: E402
from matching_pairs.judge import Case, Result, judge, prepare  # noqa: E402
from matching_pairs.methods import ours  # noqa: E402
from matching_pairs.pairs import Pair  # noqa: E402
from matching_pairs.proving import misplaced, prove  # noqa: E402
from matching_pairs.weights import write  # noqa: E402

Load = Callable[[Case], "tuple[float, list[str]]"]
OUTCOMES = ("solved", "false alarm", "refused", "flagged mis-load", "MIS-LOAD", "crash")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", default=(), help="pairs whose name or family contains one of these"
    )
    parser.add_argument("--list", action="store_true", help="name the pairs and stop")
    parser.add_argument("--heldout", action="store_true", help="the held-out pairs: totals alone")
    parser.add_argument(
        "--baselines", nargs="*", choices=list(BASELINES), help="others beside us; all, or these"
    )
    parser.add_argument("--verbose", action="store_true", help="each pair's outcome, of held-out ones too")
    parser.add_argument("--prove", action="store_true", help="check the pairs themselves, without torchgraft")
    parser.add_argument("--json", type=Path, help="write everything per pair into this file")
    options = parser.parse_args(arguments)
    pairs = choose(options.only, heldout=options.heldout)
    if options.list:
        for pair in pairs:
            print(f"{pair.family:16} {pair.name}" + (f"   ({pair.note})" if pair.note else ""))
        print(f"{len(pairs)} pairs")
        return
    shown = options.verbose or not options.heldout
    if options.prove:
        prove_all(pairs, options.json)
        return
    methods = {"torchgraft": ours}
    if options.baselines is not None:
        methods |= {
            name: load for name, load in BASELINES.items() if name in (options.baselines or BASELINES)
        }
    results: list[Result] = []
    for pair in pairs:
        for result in run(pair, methods, explain=shown):
            results.append(result)
            if shown:
                show(result, alone=len(methods) == 1)
    print()
    print(table(results, by_family=shown))
    if options.json:
        options.json.write_text(json.dumps([result.as_dict() for result in results], indent=1))


def run(pair: Pair, methods: Mapping[str, Load], *, explain: bool) -> Iterator[Result]:
    """One pair by each method; a pair that can't even be built is told from one that is not solved."""
    try:
        case = prepare(pair)
    except Exception as error:
        for method in methods:
            yield Result(pair.name, pair.family, method, "BROKEN PAIR", False, repr(error), 0.0, 0)
        return
    for method, load in methods.items():
        write(case.target, case.before)
        result = judge(case, method, load)
        if explain and method == "torchgraft" and result.outcome == "MIS-LOAD" and pair.truth is None:
            wrong = misplaced(pair, case.target.state_dict())
            result = replace(result, message="\n".join([result.message, *wrong]))
        yield result


def show(result: Result, *, alone: bool) -> None:
    method = "" if alone else f"{result.method:13}"
    lines = result.message.split("\n")
    print(
        f"{result.outcome:16} {method}{result.pair:44} {result.seconds:6.2f} s  {lines[0][:150]}", flush=True
    )
    if result.outcome == "MIS-LOAD":
        print("".join(f"        {line}\n" for line in lines[1:9]), end="")


def prove_all(pairs: Sequence[Pair], file: Path | None) -> None:
    proofs = []
    for pair in pairs:
        try:
            proof = prove(pair)
        except Exception as error:
            print(f"{'BROKEN':14} {pair.name:44} {error!r:.300}", flush=True)
            continue
        proofs.append(proof)
        off = "by its truth" if proof.off is None else f"{proof.off:.0e} off, {proof.unsolved} unplaced"
        print(
            f"{'holds' if proof.holds else 'DOES NOT HOLD':14} {pair.name:44} {off}"
            + ("" if proof.depends else "; the output does not depend on the input")
            + (f"; {proof.twins} equal tensors" if proof.twins else "")
            + (f"; these do not tell: {', '.join(proof.mute)}" if proof.mute else ""),
            flush=True,
        )
    print(f"{sum(proof.holds for proof in proofs)} of {len(pairs)} pairs hold")
    if file:
        file.write_text(json.dumps([asdict(proof) for proof in proofs], indent=1))


def table(results: Sequence[Result], *, by_family: bool) -> str:
    """Outcomes a family (a row) and a method, as Markdown; a trap is right where it is refused or flagged."""
    rows = ["| pairs | method | n | right | " + " | ".join(OUTCOMES) + " | planning s, median | worst |"]
    rows.append("|---" * (len(OUTCOMES) + 6) + "|")
    families = [family for family in dict.fromkeys(result.family for result in results) if family != "traps"]
    groups = {
        family: [r for r in results if r.family == family] for family in (families if by_family else [])
    }
    groups["**all pairs**"] = [r for r in results if r.family != "traps"]
    groups["**traps**"] = [r for r in results if r.family == "traps"]
    for group, members in groups.items():
        for method in dict.fromkeys(result.method for result in members):
            chosen = [r for r in members if r.method == method]
            counts = Counter(result.outcome for result in chosen)
            cells = " | ".join(str(counts[outcome] or "") for outcome in OUTCOMES)
            times = [result.seconds for result in chosen]
            rows.append(
                f"| {group} | {method} | {len(chosen)} | {sum(r.right for r in chosen)} | {cells} "
                f"| {statistics.median(times):.2f} | {max(times):.2f} |"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
