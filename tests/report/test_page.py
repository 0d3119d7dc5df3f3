"""The page: complete, self-contained, well-formed, and deaf to what names try."""

import base64
import dataclasses
import hashlib
import io
import itertools
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from torchgraft.errors import DataError
from torchgraft.report.page import (
    Chart,
    ComparisonSection,
    ConfusionSection,
    Contender,
    Curve,
    CurvesSection,
    FactsSection,
    Figure,
    GraftSection,
    Page,
    Photo,
    PhotosSection,
    render_html,
    write_html,
)

VOID = {"meta", "img", "br", "input"}


class Reader(HTMLParser):
    """Elements, attributes and text of a page; complains of tags that don't close as they opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.data: list[dict] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" not in self.open and "style" not in self.open:
            self.text.append(data)
        elif self.open[-1] == "script" and self.tags[-1][1].get("type") == "application/json":
            self.data.append(json.loads(data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page(plan, refused) -> Page:
    grey = np.arange(64 * 48, dtype=np.uint8).reshape(64, 48)
    curves = (
        Curve("probe", (0.5, 0.7, 0.8)),
        Curve("probe", (0.5, 0.72, 0.79, 0.81)),
        Curve("scratch", (0.4, math.nan, 0.5)),
        Curve("scratch", (0.3, 0.4, 0.6), training=True),
    )
    return Page(
        "A title",
        "A subtitle",
        (
            GraftSection(plan),
            GraftSection(refused, title="Closed"),
            CurvesSection((Chart("Accuracy", curves, share=True), Chart("Loss", (Curve("one", (2.0,)),)))),
            ComparisonSection(
                (Contender("probe", (0.8, 0.82, 0.84)), Contender("scratch", (0.5,), "a note"))
            ),
            ConfusionSection(("a", "b"), ((5, 1), (0, 4))),
            ConfusionSection([str(i) for i in range(15)], np.diag([3] * 15).tolist(), title="Many"),
            PhotosSection(
                (Photo(grey, (("cat", 0.9), ("dog", 0.1)), "cat"), Photo(grey, (("cat", 0.9),), "dog"))
            ),
            FactsSection((("sha256", "abc"),)),
        ),
        (Figure("18 of 20", "photos"),),
    )


def policy_of(reader: Reader) -> str:
    return next(a["content"] for a in reader.all("meta") if a.get("http-equiv") == "Content-Security-Policy")


def names_of(data) -> list[str]:
    """What the page's script makes of the names in an explorer's data."""
    names, before = [], ""
    for shared, rest in zip(data["names"][::2], data["names"][1::2], strict=True):
        before = before[:shared] + rest
        names.append(before)
    return names


def test_is_well_formed_and_says_everything(page, plan):
    reader = Reader(render_html(page))
    text = " ".join(" ".join(reader.text).split())
    first, closed = (data for data in reader.data if "names" in data)
    unused = [entry.name for entry in plan.sources if entry.status == "unused"]
    assert names_of(first) == [*(entry.name for entry in plan.targets), *unused]
    evidence = next(column for column in first["columns"] if column["title"] == "evidence")
    shown = [evidence["pool"][at] for at in evidence["at"]]
    assert shown[: len(plan.targets)] == [entry.why for entry in plan.targets]
    assert [len(view["at"]) for view in closed["views"]] == [len(names_of(closed))]
    assert "A title A subtitle" in text
    assert "18 of 20" in text
    assert "input channels 3→1, sum" in text
    assert "classifier.{weight, bias} ×2" in text
    assert "The gate is closed" in text
    assert "--allow-fresh head" in text
    assert "82.0 ± 2.0 %" in text  # mean and spread of 80, 82 and 84
    assert "83.3 %" in text  # 5 of 6
    assert "1 of 2 right." in text


def test_loads_nothing_and_runs_nothing_but_its_own(page):
    html = render_html(page)
    reader = Reader(html)
    assert not reader.all("link")
    assert not re.search(r"url\(|@import|innerHTML|insertAdjacentHTML|document\.write|\beval\b", html)
    assert set(re.findall(r"https?://[^\"]*", html)) == {"http://www.w3.org/2000/svg"}  # a name, no address
    for _, attributes in reader.tags:
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    policy = policy_of(reader)
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", html, re.DOTALL)
    ]
    assert len(hashes) == 2
    assert policy.split("; ") == [
        "default-src 'none'",
        f"script-src {hashes[1]}",
        f"style-src {hashes[0]}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert "connect-src 'self'" in policy_of(Reader(render_html(page, live=True))).split("; ")


def test_is_accessible(page):
    reader = Reader(render_html(page))
    assert reader.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in reader.all("img"))
    assert all(header.get("scope") for header in reader.all("th"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in reader.all("svg"))
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for link in reader.all("a"):
        assert link["href"].removeprefix("#") in ids


def test_hostile_names_are_text(hostile):
    picture = np.zeros((4, 4, 3), np.uint8)
    text = hostile.model
    page = Page(
        text,
        text,
        (
            GraftSection(hostile, title=text, text=text),
            CurvesSection(
                (Chart(text, (Curve(text, (1.0, 2.0)), Curve(text + "b", (1.0, 2.0)))),), text=text
            ),
            ComparisonSection((Contender(text, (1.0,), text),), metric=text),
            ConfusionSection((text, "b"), ((1, 0), (0, 1))),
            ConfusionSection([f"{i}{text}" for i in range(15)], np.ones((15, 15), int).tolist()),
            PhotosSection((Photo(picture, ((text, 1.0),), text, text),)),
            FactsSection(((text, text),)),
        ),
        (Figure(text, text),),
    )
    html = render_html(page)
    reader = Reader(html)
    assert [a.get("type") for a in reader.all("script")] == ["application/json"] * len(reader.data) + [None]
    assert {attributes["src"][:5] for attributes in reader.all("img")} == {"data:"}
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)
    shown = " ".join(reader.text)
    assert "<script>alert(1)</script>" in shown
    assert "{{ 7*7 }}" in shown
    assert "&amp;" in shown


def test_is_written_whole_and_alone(page, tmp_path):
    path = write_html(page, tmp_path / "report.html")
    assert path.read_text("utf-8") == render_html(page)
    assert list(tmp_path.iterdir()) == [path]


def test_an_unreadable_photo_leaves_no_page(page, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    photos = PhotosSection((Photo(tmp_path / "broken.jpg", (("cat", 1.0),)),))
    with pytest.raises(DataError) as caught:
        write_html(dataclasses.replace(page, sections=(photos,)), tmp_path / "report.html")
    assert caught.value.where == str(tmp_path / "broken.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["broken.jpg"]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_thumbnails_of_every_mode(mode):
    view = PhotosSection((Photo(Image.new(mode, (900, 300)), (("x", 1.0),)),)).view()
    uri = str(view["photos"][0]["uri"])
    kind, _, data = uri.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (kind, image.format, image.size[0]) == ("data:image/jpeg;base64", "JPEG", 320)


@pytest.mark.parametrize(
    "curves",
    [
        (Curve("flat", (0.5, 0.5, 0.5)),),
        (Curve("a", (1.0,)),),
        (Curve("gap", (math.nan, 1.0, math.inf, 2.0)),),
        tuple(Curve(f"run {i}", (1.0, 0.5)) for i in range(12)),
    ],
)
def test_curves_stay_inside_the_plot(curves):
    chart = CurvesSection((Chart("Loss", curves),)).view()["charts"][0]
    numbers = [pair for *_, path in chart["lines"] for pair in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]
    assert numbers
    for x, y in numbers:
        assert chart["left"] <= float(x) <= chart["right"]
        assert 0 <= float(y) <= chart["bottom"]
    heights = [y for *_, y in chart["labels"]]
    assert all(b - a >= 15.9 for a, b in itertools.pairwise(heights))


def test_comparison_places_values_on_one_axis():
    contenders = (Contender("a", (0.2, 0.4)), Contender("b", (0.6,)))
    rows = ComparisonSection(contenders).view()["rows"]
    places = [at for row in rows for at, _ in row["dots"]]
    slope = np.polyfit([0.2, 0.4, 0.6], places, 1)[0]
    assert np.allclose(np.diff(places), slope * 0.2, atol=0.02)
    assert [row["best"] for row in rows] == [False, True]
    assert rows[0]["mean"] == pytest.approx(np.mean(places[:2]), abs=0.02)
