"""The demo's HTML report."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

import torchgraft as tg
from torchgraft.demo.contest import FULL, PRETRAINED, PROBE, SCRATCH, spread
from torchgraft.demo.material import SolarCells
from torchgraft.demo.story import ARCHITECTURE, Demo
from torchgraft.finetuning import Evaluation, FinetuneResult
from torchgraft.report.page import (
    ComparisonSection,
    ConfusionSection,
    Contender,
    CurvesSection,
    FactsSection,
    Figure,
    GraftSection,
    Page,
    Photo,
    PhotosSection,
    run_charts,
    write_html,
)
from torchgraft.report.quantities import duration

__all__ = ["write_page"]


def write_page(demo: Demo, path: Path) -> Path:
    """Write the report; gives its path."""
    contest, cells = demo.contest, demo.cells
    best = contest.entry(PROBE, PRETRAINED).results[0]
    counts = best.counts
    scores = best.evaluation
    assert isinstance(scores, Evaluation)
    page = Page(
        title="From a file of foreign names to a working classifier",
        subtitle=f"{demo.weights.name}, grafted onto {ARCHITECTURE}, adapted to one channel and two classes, "
        f"and fine-tuned on {len(cells.labels):,} photos of solar cells.",
        figures=(
            Figure(
                f"{demo.plan.counts['loaded']} of {len(demo.plan.targets)}",
                "tensors loaded, matched by structure",
            ),
            Figure(f"{demo.right} of {len(demo.photos)}", "ImageNet photos right at the first guess"),
            Figure(
                spread(contest.entry(PROBE, PRETRAINED).scores("accuracy")),
                "accuracy on solar cells, linear probe",
            ),
            Figure(spread(contest.entry(PROBE, SCRATCH).scores("accuracy")), "the same with random weights"),
        ),
        sections=(
            GraftSection(demo.plan, title="What went where", text="Every tensor of the model, in its order."),
            PhotosSection(_imagenet(demo), title="What it sees in ImageNet photos"),
            GraftSection(
                demo.adaptation,
                title="One channel, two classes",
                text="Into the adapted model: the stem's weights are kept, the classifier is new.",
            ),
            ComparisonSection(
                tuple(
                    Contender(
                        entry.label,
                        entry.scores("accuracy"),
                        f"{entry.results[0].trainable:,} parameters trained",
                    )
                    for entry in contest.entries
                ),
                title="What the weights are worth",
                text=f"Solar cells, {counts['train']} photos to train and {counts['val']} to validate on; "
                "the same splits and budget for all, each dot one seed.",
            ),
            CurvesSection(
                run_charts(
                    {
                        entry.start: [result.history for result in entry.results]
                        for entry in (contest.entry(FULL, PRETRAINED), contest.entry(FULL, SCRATCH))
                    }
                ),
                text="The full fine-tune, epoch by epoch.",
            ),
            ConfusionSection(
                scores.classes,
                scores.confusion,
                text=f"Linear probe on grafted weights; the first seed's {counts['val']} validation photos.",
            ),
            PhotosSection(
                _cells(best, demo.held_out),
                title="What it sees in solar cells",
                text="Photos that no run has seen.",
            ),
            FactsSection(_facts(demo)),
        ),
    )
    return write_html(page, path)


def _imagenet(demo: Demo) -> tuple[Photo, ...]:
    return tuple(
        Photo(
            photo.path,
            tuple(zip(guess.labels, guess.probabilities, strict=True)),
            truth=demo.names[photo.label],
            name=photo.path.name,
        )
        for photo, guess in zip(demo.photos, demo.predictions, strict=True)
    )


def _cells(result: FinetuneResult, held_out: SolarCells) -> tuple[Photo, ...]:
    guesses = tg.predict(result.model, held_out.images, top=2)
    return tuple(
        Photo(image, tuple(zip(guess.labels, guess.probabilities, strict=True)), truth=truth, name=guess.name)
        for image, truth, guess in zip(held_out.images, held_out.labels, guesses, strict=True)
    )


def _facts(demo: Demo) -> tuple[tuple[str, str], ...]:
    digest = hashlib.sha256(demo.weights.read_bytes()).hexdigest()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "timm"))
    return (
        ("weights", f"{demo.weights.name}, {demo.weights.stat().st_size:,} bytes"),
        ("sha256", digest),
        ("matched by", demo.plan.match),
        (
            "photos",
            f"{len(demo.photos)} of ImageNet; {len(demo.cells.labels):,} of {demo.cells.total:,} solar cells "
            "(ELPV, non-commercial licence)",
        ),
        ("versions", f"torchgraft {tg.__version__}, {versions}, Python {platform.python_version()}"),
        ("time", duration(demo.seconds)),
    )
