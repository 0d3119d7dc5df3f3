"""The pictures of runs in the guides: three small fine-tunes of real weights on photos of solar cells.

    python docs/make_run_images.py [a folder with runs `full`, `gentle` and `probe` of an earlier call]

It takes some minutes, nearly all of them for the fine-tunes.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

import torchgraft as tg
from torchgraft.demo.material import lite0_weights, solar_cells
from torchgraft.viewing import shown

IMAGES = Path(__file__).parent / "images"
RUNS = {
    "full": {"recipe": "full", "epochs": 5, "lr": 1e-3, "batch_size": 16},
    "gentle": {"recipe": "full", "epochs": 5, "lr": 1e-4, "batch_size": 16},
    "probe": {"recipe": "linear-probe"},
}


def train(photos: Path) -> None:
    """The runs, in the current folder."""
    cells = solar_cells(90)
    for index, (image, label) in enumerate(zip(cells.images, cells.labels, strict=True)):
        (photos / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(photos / label / f"{index:03}.png")
    how = tg.Preprocessing(size=(96, 96), crop=1.0)
    for name, options in RUNS.items():
        model = tg.create_model("timm/tf_efficientnet_lite0", weights=lite0_weights(), preprocessing=how)
        print(name, tg.finetune(model, photos, out=name, **options))


def photograph() -> None:
    """The page of one of the runs in the current folder, and the page of all three."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    Path("run.html").write_text(shown(["full"]).html(), "utf-8")
    Path("runs.html").write_text(shown(list(RUNS)).html(), "utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, height in (("run", 1500), ("runs", 1300)):
            page = browser.new_page(viewport={"width": 1240, "height": height}, device_scale_factor=1.25)
            page.goto(Path(f"{name}.html").absolute().as_uri())
            with Image.open(io.BytesIO(page.screenshot())) as image:
                image.convert("RGB").quantize(128).save(IMAGES / f"{name}-page.png", optimize=True)
        browser.close()


def main() -> None:
    """Train unless a folder of runs is named, and photograph."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(sys.argv[1] if len(sys.argv) > 1 else folder)
        if len(sys.argv) == 1:
            train(Path("photos"))
        photograph()
        os.chdir("/")


if __name__ == "__main__":
    main()
