"""Pages of runs in a real browser: live updates, sorting, the numbers under a place, hostile names, axe."""

from __future__ import annotations

import threading

import pytest

import run_folders
from torchgraft.finetuning.runs.recorded_run import read_run
from torchgraft.report.page import run_page, runs_page, write_html
from torchgraft.viewing import Runs, Viewer

expect = pytest.importorskip("playwright.sync_api", reason="pip install playwright").expect
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202egpj\n'\">"


@pytest.fixture
def serve(heard):
    running = []

    def serving(*folders):
        viewer = Viewer(Runs(folders))
        thread = threading.Thread(target=viewer.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        running.append((viewer, thread))
        heard.allowed = (viewer.url,)
        return viewer

    yield serving
    for viewer, thread in running:
        viewer.shutdown()
        viewer.server_close()
        thread.join(10)


def opened(page, path, made):
    write_html(made, path)
    page.goto(path.as_uri())
    return page


def first_column(page, table):
    return page.eval_on_selector_all(
        f"{table} tbody tr:not([hidden]) th", "cells => cells.map(c => c.textContent)"
    )


def test_a_run_goes_on_under_the_readers_eyes(page, serve, tmp_path, axe):
    run = tmp_path / "run"
    run_folders.config(run)
    page.goto(serve(run).url)
    expect(page.locator("[data-news]")).to_have_text("live")
    assert page.locator(".chart").count() == 0

    run_folders.add_epoch(run, 1)
    run_folders.class_metrics(run, ("cat", "dog", "owl"), epoch=1, pictures=False)
    expect(page.locator(".chart")).to_have_count(4)
    assert "epoch 1 of 10" in page.inner_text(".state")
    assert page.inner_text("nav").count("Class by class") == 1

    # what the reader did stays: an opened table, an order, the focus, the place on the page
    page.click(".chart summary >> nth=0")
    page.click("text=recall")
    order = page.evaluate("document.querySelector('.sortable').dataset.sorted")
    assert order == "2 descending"
    page.evaluate("window.marked = document.querySelector('.chart svg'); marked.focus(); scrollTo(0, 400)")
    run_folders.add_epoch(run, 2)
    expect(page.locator(".state")).to_contain_text("epoch 2 of 10")
    assert page.evaluate("marked === document.querySelector('.chart svg')")
    assert page.evaluate("document.activeElement === marked")
    assert page.evaluate("document.querySelector('.chart details').open")
    assert page.evaluate("document.querySelector('.sortable').dataset.sorted") == order
    assert page.evaluate("scrollY") == 400
    rows = page.locator(".chart details table >> nth=0").locator("tbody tr")
    assert rows.count() == 2
    expect(page.locator(".far")).to_have_attribute("aria-valuenow", "20.0")
    page.focus(".chart svg >> nth=0")
    page.keyboard.press("End")
    assert page.inner_text(".readout >> nth=0").startswith("epoch 2: validation")
    assert axe(page) == []

    run_folders.config(run, status="finished")
    expect(page.locator(".state")).to_have_attribute("data-status", "finished")
    assert page.inner_text("[data-news]") == ""


def test_a_finished_run_asks_nothing(page, serve, tmp_path, heard):
    viewer = serve(run_folders.finished(tmp_path / "run", epochs=2))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(viewer.url)
    assert [url for url in asked if "news" in url] == []


def test_when_the_viewer_stops_the_page_says_so(page, serve, tmp_path, heard):
    run = tmp_path / "run"
    run_folders.config(run)
    viewer = serve(run)
    page.goto(viewer.url)
    expect(page.locator("[data-news]")).to_have_text("live")
    viewer.shutdown()
    viewer.server_close()
    expect(page.locator("[data-news]")).to_contain_text("the viewer doesn't answer")
    heard.errors.clear()  # the browser's own word for a server that is gone


def test_without_the_token_there_is_nothing(page, serve, tmp_path, heard):
    viewer = serve(run_folders.finished(tmp_path / "run", epochs=1))
    heard.allowed = (f"http://127.0.0.1:{viewer.server_port}/",)
    answer = page.goto(viewer.url.replace(viewer.token, "x" * len(viewer.token)))
    assert answer.status == 403
    assert "photos" not in page.content()
    heard.errors.clear()


def test_another_site_reads_nothing(page, serve, tmp_path, heard):
    viewer = serve(run_folders.finished(tmp_path / "run", epochs=1))
    page.goto("about:blank")
    found = page.evaluate("url => fetch(url).then(r => r.text(), () => 'refused')", viewer.url)
    assert found == "refused"
    heard.errors.clear()


def test_tables_are_sorted_and_searched(page, tmp_path):
    classes = [f"class {i}" for i in range(1, 41)]
    run = run_folders.finished(tmp_path / "run", classes=classes, epochs=2)
    opened(page, tmp_path / "page.html", run_page(read_run(run)))
    table = "table:has(th:has-text('precision'))"
    assert first_column(page, table) == classes
    scores = {row["name"]: row for row in read_run(run).metrics["per_class"]}
    page.click(f"{table} >> text=recall")
    down = [scores[name]["recall"] for name in first_column(page, table)]
    assert down == sorted(down, reverse=True)
    page.keyboard.press("Enter")  # the heading is a button, and has the focus
    up = [scores[name]["recall"] for name in first_column(page, table)]
    assert up == sorted(up)
    assert page.get_attribute(f"{table} th[aria-sort]", "aria-sort") == "ascending"
    page.click(f"{table} button >> nth=0")
    assert first_column(page, table) == classes  # 2 before 10
    page.fill("[data-filter]", "class 3")
    assert first_column(page, table) == ["class 3", *classes[29:39]]
    assert page.inner_text("[data-found]") == "11 of 40 rows"


def test_the_numbers_under_a_place(page, tmp_path):
    run = run_folders.finished(tmp_path / "run", epochs=5)
    opened(page, tmp_path / "page.html", run_page(read_run(run)))
    third = read_run(run).history[2]
    page.focus(".chart svg >> nth=0")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    said = f"epoch 3: validation {third['val_loss']:.4f} · training {third['train_loss']:.4f}"
    assert page.inner_text(".readout >> nth=0") == said
    page.keyboard.press("Escape")
    assert page.inner_text(".readout >> nth=0") == ""
    page.hover(".chart svg >> nth=1")
    assert page.inner_text(".readout >> nth=1").startswith("epoch 3: accuracy")
    page.hover("h1")
    assert page.inner_text(".readout >> nth=1") == ""


def test_pictures_and_what_decided(page, tmp_path):
    opened(page, tmp_path / "page.html", run_page(read_run(run_folders.finished(tmp_path / "run", epochs=2))))
    shown = "document.querySelectorAll('.mistakes img:not(.light)')"
    assert page.evaluate(f"[...{shown}].every(img => img.complete && img.naturalWidth === 96)")
    light = page.locator(".mistakes .light").first
    expect(light).to_have_css("opacity", "0")
    page.click("[data-light]")
    expect(light).to_have_css("opacity", "1")


@pytest.mark.parametrize(
    ("shown", "scheme", "width"),
    [
        ("one", "light", 1280),
        ("many", "light", 1280),
        ("one", "dark", 360),
        ("several", "dark", 1280),
        ("failed", "light", 360),
    ],
)
def test_axe_and_no_scrolling_sideways(open_page, axe, tmp_path, shown, scheme, width):
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    classes = [f"class {i}" for i in range(20)]
    one = read_run(run_folders.finished(tmp_path / "one", epochs=3))
    many = read_run(run_folders.finished(tmp_path / "many", classes=classes, epochs=3, seed=2))
    run_folders.config(
        tmp_path / "bad", status="failed", error="TrainingError: the loss became nan\nlr=0.0001"
    )
    failed = read_run(tmp_path / "bad")
    made = {
        "one": run_page(one),
        "failed": run_page(failed),
        "many": run_page(many),
        "several": runs_page([one, many, failed]),
    }
    opened(page, tmp_path / "page.html", made[shown])
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_names_do_nothing(page, tmp_path):
    page.on("dialog", lambda dialog: pytest.fail("a name was run"))
    folder = tmp_path / "ru\nn<b>"
    run_folders.finished(
        folder,
        classes=(EVIL, "b" * 20_000, "\udcff"),
        epochs=2,
        model=EVIL,
        data=EVIL,
        notes=[EVIL],
        error=EVIL,
    )
    opened(page, tmp_path / "page.html", run_page(read_run(folder)))
    assert page.locator("img[src=x]").count() == 0
    page.click("button:has-text('recall')")
    page.focus(".chart svg >> nth=0")
    page.keyboard.press("End")
    assert "\\u202egpj" in page.inner_text("h1")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
