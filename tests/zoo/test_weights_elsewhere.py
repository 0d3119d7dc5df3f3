"""Published weights that are on this machine already: another program's cache, a mirror."""

from __future__ import annotations

import hashlib
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from torchgraft import FetchError, create_model
from torchgraft.zoo import weights
from torchgraft.zoo.published_weights import PublishedWeights


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the hub is out of reach, and its cache is empty."""

    def download(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.delenv("TORCHGRAFT_MIRROR", raising=False)


def test_what_timm_downloaded_before_its_weights_were_on_the_hub(tmp_path: Path) -> None:
    body = b"weights" * 10
    name = f"net-{hashlib.sha256(body).hexdigest()[:8]}.pth"
    kept = tmp_path / "torch" / "hub" / "checkpoints" / name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(body)
    published = PublishedWeights(
        "a1_in1k", url=f"https://weights.invalid/{name}", hub=("timm/net.a1_in1k", "model.safetensors")
    )
    assert weights._fetch_published(published) == kept
    kept.write_bytes(body[:-1])
    with pytest.raises(FetchError, match="Hugging Face hub"):
        weights._fetch_published(published)


def test_a_mirror_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, differing) -> None:
    expected = timm.create_model("resnet10t")
    mirrored = tmp_path / "mirror" / "timm" / "resnet10t.c3_in1k" / "pytorch_model.bin"
    mirrored.parent.mkdir(parents=True)
    torch.save(expected.state_dict(), mirrored)
    monkeypatch.setenv("TORCHGRAFT_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("TORCHGRAFT_OFFLINE", "1")
    model = create_model("timm/resnet10t", weights="DEFAULT")
    assert differing(model, expected) == []
