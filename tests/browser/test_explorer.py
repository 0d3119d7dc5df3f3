"""Plans, checkpoints and comparisons as readers meet them: searched, zoomed, sorted, by mouse and keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser import made_up
from torchgraft.comparing import Diff
from torchgraft.planning import Plan
from torchgraft.report.page import Page, checkpoint_page, diff_page, graft_page, write_html

expect = pytest.importorskip("playwright.sync_api", reason="pip install playwright").expect

NAMES = [f"layers.{i}.{leaf}" for i in range(12) for leaf in ("weight", "bias")]


def graft() -> Page:
    plan = made_up.plan()
    return graft_page(
        plan, values=made_up.histograms(plan), script="import torch\n\ndef convert(source): ...\n"
    )


PAGES: dict[str, Callable[[], Page]] = {
    "graft": graft,
    "checkpoint": lambda: checkpoint_page(
        made_up.checkpoint(NAMES, metadata={"epoch": 3, "args": {"lr": 0.1}}), stats=made_up.stats(NAMES)
    ),
    "diff": lambda: diff_page(made_up.diff()),
}


@pytest.fixture
def shown(page: Any, tmp_path: Path) -> Callable[[str], Any]:
    """One of the pages, opened from a file."""

    def opened(name: str) -> Any:
        page.goto(write_html(PAGES[name](), tmp_path / f"{name}.html").as_uri())
        page.wait_for_selector("[data-explorer][data-ready]")
        return page

    return opened


def said(page: Any) -> str:
    return page.inner_text('[data-part="said"]')


def rows(page: Any) -> list[str]:
    return page.eval_on_selector_all(
        '[data-part="rows"] tbody tr:not(.gap)', "rows => rows.map(r => r.querySelector('th').innerText)"
    )


def detail(page: Any) -> str:
    return page.inner_text('[data-part="detail"]')


def test_search_shows_what_matches_and_dims_the_rest(shown):
    page = shown("graft")
    assert said(page) == "44 tensors"
    page.keyboard.press("/")
    page.keyboard.type("fc1 9")
    expect(page.locator('[data-part="said"]')).to_contain_text("1 of")
    assert rows(page) == ["blocks.9.mlp.fc1.weight"]
    assert page.locator(".map .cell:not(.dim)").count() == 1
    page.keyboard.press("Enter")
    assert "blocks.9.mlp.fc1.weight" in detail(page)
    assert "old.blocks.9.mlp.fc1.weight" in detail(page)
    page.fill('[data-part="search"]', "")
    expect(page.locator('[data-part="said"]')).to_have_text("44 tensors")
    page.fill('[data-part="search"]', "MISSING")
    expect(page.locator('[data-part="said"]')).to_have_text("2 of 44 tensors")
    page.fill('[data-part="search"]', "no such tensor")
    expect(page.locator('[data-part="said"]')).to_have_text("0 of 44 tensors")
    assert rows(page) == []


def test_a_tensor_that_is_clicked_is_told_of(shown):
    page = shown("graft")
    page.click('.map [aria-label^="stem.weight"]')
    text = detail(page)
    for part in (
        "stem.weight",
        "adapted",
        "MISMATCH",
        "patch.weight",
        "[64, 3, 16, 16]",
        "first convolution",
        "float16 → float32",
    ):
        assert part in text
    histograms = page.locator('[data-part="detail"] svg')
    assert histograms.count() == 2
    assert "from -1 to 1" in histograms.first.get_attribute("aria-label")
    assert page.locator('[data-part="rows"] tr[aria-current="true"] th').inner_text() == "stem.weight"


def test_zoom_by_mouse_and_back_by_the_path(shown):
    page = shown("graft")
    whole = page.locator(".map button").count()
    page.click('.map [aria-label^="blocks.3, module"]', position={"x": 5, "y": 5})
    assert page.locator('[data-part="crumbs"] li').all_inner_texts() == ["Net", "Net", "blocks", "3"]
    labels = page.eval_on_selector_all(".map .cell", "cells => cells.map(c => c.getAttribute('aria-label'))")
    assert all(label.startswith("blocks.3.") for label in labels)
    assert "4 tensors" in detail(page)
    page.click('[data-part="crumbs"] li:first-child button')
    assert page.locator(".map button").count() == whole


def test_all_by_keys(shown):
    page = shown("graft")
    page.focus('.map [aria-label^="stem.weight"]')
    seen = {page.evaluate("document.activeElement.getAttribute('aria-label')")}
    for _ in range(4):
        page.keyboard.press("ArrowRight")
        seen.add(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert len(seen) == 5
    assert page.locator('.map button[tabindex="0"]').count() == 1
    page.focus('.map [aria-label^="blocks, module"]')
    page.keyboard.press("Enter")
    assert page.locator('[data-part="crumbs"] b').inner_text() == "blocks"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert page.locator('[data-part="crumbs"] b').inner_text() == "Net"
    page.focus('[data-part="rows"] tbody button >> nth=0')
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator('[data-part="rows"] [aria-expanded="true"]').count() == 1


def test_ranges_open_and_every_tensor_has_a_line(shown):
    page = shown("graft")
    together = rows(page)
    assert "blocks.{0...9}.attn.qkv.{weight, bias} ×20" in [" ".join(row.split()) for row in together]
    page.click('[data-part="rows"] [aria-expanded="false"] >> nth=0')
    assert "blocks.4.attn.qkv.bias" in rows(page)
    page.select_option('[data-choice="rows"]', "single")
    expect(page.locator(".items")).to_have_attribute("aria-rowcount", "45")
    assert "blocks.0.attn.qkv.weight" in rows(page)


def test_sorting(shown):
    page = shown("graft")
    page.select_option('[data-choice="rows"]', "single")
    page.click("th.count .sort")
    head = page.locator("th.count")
    assert head.get_attribute("aria-sort") == "descending"
    assert rows(page)[:2] == ["classifier.weight", "stem.weight"]
    page.click("th.count .sort")
    assert head.get_attribute("aria-sort") == "ascending"
    assert rows(page)[0] == "head.bias"
    page.click("th.name .sort")
    assert rows(page)[:2] == ["blocks.0.attn.qkv.bias", "blocks.0.attn.qkv.weight"]
    assert head.get_attribute("aria-sort") is None


def test_states_hide(shown):
    page = shown("graft")
    page.click('.chip:has-text("loaded")')
    assert said(page) == "4 of 44 tensors"
    assert page.get_attribute('.chip:has-text("loaded")', "aria-pressed") == "false"


def test_what_to_copy_when_it_is_refused(shown):
    page = shown("graft")
    code = page.locator(".remedies code").all_inner_texts()
    assert code == ["--allow-fresh head", "tg.graft(model, checkpoint, allow_fresh='head')"]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click(".remedies .copy >> nth=1")
    page.wait_for_selector('.remedies .copy:has-text("Copied")')
    assert page.evaluate("navigator.clipboard.readText()") == code[1]


def test_values_of_a_checkpoint(shown):
    page = shown("checkpoint")
    text = page.inner_text("main")
    for part in (
        "1 tensor NaN or infinite",
        "layers.0.weight",
        "1 tensor dead",
        "evil.Payload",
        "none was run",
        "args.lr",
    ):
        assert part in text
    page.select_option('[data-choice="view"]', "1")
    assert page.locator(".chip b").all_inner_texts() == ["float32"]
    page.select_option('[data-choice="area"]', "one")
    areas = page.eval_on_selector_all(".map .cell", "cells => cells.map(c => c.offsetWidth * c.offsetHeight)")
    assert max(areas) < 4 * min(areas)


def test_how_far_layers_moved(shown):
    page = shown("diff")
    widths = page.eval_on_selector_all(
        ".moved tbody tr", "rows => rows.map(r => r.querySelector('.bar')?.offsetWidth ?? 0)"
    )
    assert widths == sorted(widths)
    assert widths[0] == 0 < widths[-1]
    page.select_option('[data-choice="view"]', "1")
    assert "not compared" in page.inner_text('[data-part="legend"]')
    assert {"removed", "added", "reshaped"} <= set(page.inner_text("table.stacks").split())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_has_nothing_serious_to_say(name, scheme, open_page, axe, tmp_path):
    page = open_page(color_scheme=scheme)
    page.goto(write_html(PAGES[name](), tmp_path / "page.html").as_uri())
    page.wait_for_selector("[data-explorer][data-ready]")
    page.fill('[data-part="search"]', "weight")
    page.keyboard.press("Enter")
    assert axe(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_shows_all_of_it(name, open_page, axe, tmp_path):
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True)
    page.goto(write_html(PAGES[name](), tmp_path / "page.html").as_uri())
    page.wait_for_selector("[data-explorer][data-ready]")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.tap('[data-part="rows"] tbody tr:has-text("weight") button >> nth=0')
    assert axe(page) == []


def test_the_switch_of_colours_is_remembered(shown):
    page = shown("diff")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("[data-theme-switch]")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_it_prints_in_light_with_every_row(open_page, tmp_path):
    page = open_page(color_scheme="dark")
    page.goto(write_html(PAGES["checkpoint"](), tmp_path / "page.html").as_uri())
    page.select_option('[data-choice="rows"]', "single")
    page.emulate_media(media="print")
    expect(page.locator(".items tbody tr:not(.gap)")).to_have_count(len(NAMES))
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.is_visible(".tools")


def test_without_scripts_it_still_says_what_matters(open_page, tmp_path):
    page = open_page(java_script_enabled=False)
    page.goto(write_html(PAGES["graft"](), tmp_path / "page.html").as_uri())
    text = page.inner_text("main")
    for part in (
        "The gate is closed",
        "--allow-fresh head",
        "stem.weight",
        "classifier.weight",
        "is switched off here",
    ):
        assert part in text


def test_a_hundred_thousand_tensors_stay_usable(page, tmp_path):
    names = [
        f"model.layers.{i // 1000}.mlp.experts.{i % 1000 // 4}.{('gate', 'up', 'down', 'norm')[i % 4]}.weight"
        for i in range(100_000)
    ]
    path = write_html(checkpoint_page(made_up.checkpoint(names)), tmp_path / "page.html")
    assert path.stat().st_size < 8_000_000
    page.goto(path.as_uri())
    page.wait_for_selector("[data-explorer][data-ready]", timeout=60_000)
    assert page.locator(".map button").count() < 5_000
    page.select_option('[data-choice="rows"]', "single")
    assert page.locator('[data-part="rows"] tbody tr').count() < 100
    page.locator('[data-part="rows"]').evaluate("box => { box.scrollTop = box.scrollHeight }")
    page.wait_for_selector(f'[data-part="rows"] th:has-text("{names[-1]}")')
    page.fill('[data-part="search"]', "layers.77. experts.99. down")
    expect(page.locator('[data-part="said"]')).to_contain_text("1 of")
    page.keyboard.press("Enter")
    assert detail(page).startswith("model.layers.77.mlp.experts.99.down.weight")


@pytest.mark.parametrize(
    "made",
    [
        lambda: graft_page(Plan("Net", "weights.pth", "nothing", (), ())),
        lambda: checkpoint_page(made_up.checkpoint([])),
        lambda: checkpoint_page(made_up.checkpoint(["one"]), stats=made_up.stats(["one"])),
        lambda: diff_page(Diff("a.pth", "b.pth", True, ())),
    ],
    ids=["plan of nothing", "empty checkpoint", "one tensor", "diff of nothing"],
)
def test_pages_of_next_to_nothing(made, page, tmp_path):
    page.goto(write_html(made(), tmp_path / "page.html").as_uri())
    page.wait_for_selector("[data-explorer][data-ready]")
    page.fill('[data-part="search"]', "x")
    page.keyboard.press("Enter")
    assert page.locator(".map button").count() == 1
