"""Pages about checkpoints of 1,000 and 100,000 tensors: how large they are, how long they take.

    python benchmarks/pages.py

Python's time to write a page is wall time. The browser's is CPU time, so that a busy machine does not count
against it: what Chromium's main thread computes until the page can be used, and for a search.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from torchgraft.checkpoint import Checkpoint
from torchgraft.measuring import BINS, Histogram, TensorStats
from torchgraft.report.page import Page, checkpoint_page, write_html
from torchgraft.tensors import TensorRef

RUNS = 5
LEAVES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "norm")


def main() -> None:
    """A line a page."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("pip install playwright")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium on this machine")
    print(f"{'page':<28}{'size':>10}{'written':>10}{'ready':>10}{'search':>10}   medians of {RUNS}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for count in (1_000, 100_000):
            for with_stats in (False, True):
                path = Path(folder, "page.html")
                written = []
                for _ in range(RUNS):
                    page = made_up(count, with_stats=with_stats)
                    start = time.perf_counter()
                    write_html(page, path)
                    written.append(time.perf_counter() - start)
                ready, search = zip(*(opened(browser, path) for _ in range(RUNS)), strict=True)
                name = f"{count:,} tensors{', statistics' if with_stats else ''}"
                size = f"{path.stat().st_size / 1e6:.2f} MB"
                times = (median(written), median(ready), median(search))
                print(f"{name:<28}{size:>10}" + "".join(f"{each:>8.2f} s" for each in times))
        browser.close()


def made_up(count: int, *, with_stats: bool) -> Page:
    """A page about a mixture of experts of so many tensors; nothing is read."""
    draw = random.Random(0)
    names = [f"model.layers.{i // 1000}.experts.{i % 1000 // 8}.{LEAVES[i % 8]}.weight" for i in range(count)]
    refs = {name: TensorRef(name, (4, 8), "float32", fetch=unread) for name in names}
    stats = {name: plain(draw) for name in names} if with_stats else None
    return checkpoint_page(Checkpoint(refs, name="model.pth", part="model"), stats=stats)


def unread(_: object) -> Any:
    """A page about statistics that are at hand reads no tensor."""
    raise AssertionError


def plain(draw: random.Random) -> TensorStats:
    """Numbers as a trained layer may have them."""
    low, high = draw.gauss(-1, 0.1), draw.gauss(1, 0.1)
    bars = Histogram(low, high, tuple(draw.randrange(500) for _ in range(BINS)))
    return TensorStats(4096, 0, 0, 0, low, high, draw.gauss(0, 0.01), draw.random(), bars)


def opened(browser: Any, path: Path) -> tuple[float, float]:
    """Seconds of the main thread until the page can be used, and for a search in it."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    page.goto(path.as_uri())
    page.wait_for_selector("[data-ready]", timeout=120_000)
    ready = spent()
    page.fill('[data-part="search"]', "experts.77. q_proj")
    page.wait_for_selector('[data-part="said"]:has-text(" of ")', timeout=60_000)
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    search = spent() - ready
    page.close()
    return ready, search


if __name__ == "__main__":
    main()
