"""Names from a file that try to run, to steer, or to be too long: all of them are text."""

from __future__ import annotations

from typing import Any

import pytest

from browser import made_up
from torchgraft.comparing import Diff, TensorDiff
from torchgraft.planning import Plan, SourceEntry, TargetEntry
from torchgraft.report.page import Page, checkpoint_page, diff_page, graft_page, write_html

ALL = "".join(made_up.HOSTILE[:-1])


def graft() -> Page:
    targets = tuple(
        TargetEntry(name, (2, 2), "float32", False, "body", "loaded", name, source=name, source_shape=(2, 2))
        for name in made_up.HOSTILE
    )
    fresh = TargetEntry(ALL, (9,), "float32", False, "body", "fresh", ALL)
    sources = tuple(SourceEntry(f"{name}x", (9,), "float32", "unused", name) for name in made_up.HOSTILE[:1])
    plan = Plan(ALL, ALL, ALL, (*targets, fresh), sources, (ALL,), (ALL,))
    return graft_page(plan, values=made_up.histograms(plan), script=ALL)


def checkpoint() -> Page:
    names = list(made_up.HOSTILE)
    ckpt = made_up.checkpoint(names, metadata={name: {name: name} for name in names})
    ckpt.classes, ckpt.name, ckpt.why = tuple(names), ALL, ALL
    return checkpoint_page(ckpt, stats=made_up.stats(names))


def diff() -> Page:
    names = made_up.HOSTILE
    tensors = tuple(TensorDiff(n, ((1,), None), ("float32", None), ("", None)) for n in names)
    return diff_page(Diff(ALL, ALL, True, tensors))


@pytest.mark.parametrize("made", [graft, checkpoint, diff])
def test_names_are_text(made: Any, page: Any, tmp_path: Any) -> None:
    path = write_html(made(), tmp_path / "page.html")
    assert path.stat().st_size < 1_000_000
    page.goto(path.as_uri())
    page.wait_for_selector("[data-explorer][data-ready]")
    page.select_option('[data-choice="rows"]', "single")
    assert "owned" not in page.title().split("'")[0]
    assert page.locator("script").count() == 2
    assert page.locator("main img").count() == 0
    text = page.inner_text('[data-part="rows"]')
    assert "<script>document.title='owned'</script>.weight" in text
    assert "\\u202egnp.exe.weight" in text
    assert "\\x1b]0;owned\\x07.weight" in text
    assert "\U0001f4a9\U0001f4ab.weight" in text
    assert not set("\u202e\x1b\u2028\u2029") & set(page.inner_text("body"))
    for cell in page.locator(".map .cell").all()[:30]:
        cell.dispatch_event("click")
        page.inner_text('[data-part="detail"]')
