"""The demo with next to nothing to train: every step is shown, the report is one file that stands alone."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console, RenderableType

import torchgraft as tg
from torchgraft import MissingDependencyError
from torchgraft.demo import page, run
from torchgraft.demo.contest import FULL, PRETRAINED, PROBE, SCRATCH, Settings, spread
from torchgraft.demo.material import imagenet_names, imagenet_photos, lite0_weights, solar_cells
from torchgraft.demo.story import Demo
from torchgraft.finetuning import Event

SETTINGS = Settings(cells=24, seeds=(0,), epochs=1, full_seeds=1, shown=3)


@dataclass
class Witness:
    """Writes down all that it is shown."""

    steps: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    text: str = ""

    def step(self, title: str) -> None:
        self.steps.append(title)

    def show(self, what: RenderableType) -> None:
        console = Console(width=110, file=io.StringIO(), record=True)
        console.print(what)
        self.text += console.export_text()

    def progress(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Ran:
    witness: Witness
    demo: Demo
    report: Path


@pytest.fixture(scope="module", autouse=True)
def material() -> None:
    """Skips where the packages that carry the weights and photos are absent."""
    try:
        lite0_weights(), imagenet_names(), imagenet_photos(), solar_cells(1)
    except MissingDependencyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def ran(material: None, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    out = tmp_path_factory.mktemp("demo")
    witness, demos = Witness(), list[Demo]()
    write_page = page.write_page
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "write_page", lambda demo, path: [demos.append(demo), write_page(demo, path)][1])
        report = run(out, witness, SETTINGS)
    return Ran(witness, demos[0], report)


def test_the_weights_are_understood(ran):
    plan = ran.demo.plan
    assert (plan.counts["fresh"], plan.undeclared) == (0, ())
    assert {entry.name: entry.status for entry in ran.demo.adaptation if entry.status != "loaded"} == {
        "conv_stem.weight": "adapted",
        "classifier.weight": "fresh",
        "classifier.bias": "fresh",
    }


def test_eighteen_of_twenty_photos(ran):
    assert (ran.demo.right, len(ran.demo.photos)) == (18, 20)
    assert all(len(guess.indices) == 3 for guess in ran.demo.predictions)


def test_every_step_is_shown(ran):
    assert [title.split()[0] for title in ran.witness.steps] == [
        "Inspect", "Graft", "Predict", "Adapt", "Write",
    ]  # fmt: skip
    assert ran.demo.plan.summary.split(";")[0].split("(")[0] in ran.witness.text
    for recipe in (PROBE, FULL):
        for start in (PRETRAINED, SCRATCH):
            assert f"{recipe}, {start}, seed 0" in ran.witness.text
    assert ran.witness.events


def test_every_contender_ran_on_the_same_photos(ran):
    entries = ran.demo.contest.entries
    assert {(entry.recipe, entry.start) for entry in entries} == {
        (recipe, start) for recipe in (PROBE, FULL) for start in (PRETRAINED, SCRATCH)
    }
    assert {tuple(sorted(r.counts.items())) for entry in entries for r in entry.results} == {
        (("skipped", 0), ("train", 19), ("val", 5))
    }


class Outside(HTMLParser):
    """Collects what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.images = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            embedded = (value or "").startswith(("data:", "#"))
            if name in ("src", "srcset", "poster", "data") or (
                name == "href" and tag in ("link", "image", "use")
            ):
                self.images += tag == "img" and embedded
                if not embedded:
                    self.fetched.append(f"<{tag} {name}={value}>")


def test_the_report_is_one_file_that_stands_alone(ran):
    html = ran.report.read_text(encoding="utf-8")
    found = Outside()
    found.feed(html)
    assert found.fetched == []
    assert found.images == len(ran.demo.photos) + SETTINGS.shown
    assert not re.search(r"@import|url\((?!['\"]?(?:data:|#))", html)
    assert [path for path in ran.report.parent.iterdir() if path.is_file()] == [ran.report]


def test_the_report_says_what_was_measured(ran):
    html = ran.report.read_text(encoding="utf-8")
    assert "18 of 20" in html
    accuracy = ran.demo.contest.entry(PROBE, PRETRAINED).scores("accuracy")
    assert spread(accuracy) in html
    assert ran.demo.weights.name in html


def test_a_run_folder_gives_its_model_back(ran):
    model = tg.load(ran.report.parent / "linear-probe-grafted-0" / "model")
    trained = ran.demo.contest.entry(PROBE, PRETRAINED).results[0].model
    cells = ran.demo.held_out.images
    guesses = [[guess.probabilities for guess in tg.predict(m, cells)] for m in (model, trained)]
    assert guesses[0] == guesses[1]


def test_draws_of_cells_have_none_in_common():
    first, second = solar_cells(30), solar_cells(30, skip=30)
    digests = [{image.tobytes() for image in drawn.images} for drawn in (first, second)]
    assert not digests[0] & digests[1]
    assert all(image.shape == (300, 300) and image.dtype == np.uint8 for image in first.images)
    assert set(first.labels) == {"functional", "defective"}
    again = solar_cells(30)
    assert again.labels == first.labels
