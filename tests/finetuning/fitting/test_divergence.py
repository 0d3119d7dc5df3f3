import json

import pytest
import torch
from safetensors.torch import load_file

from torchgraft.errors import TrainingError
from torchgraft.finetuning import finetune

SETTINGS = {"recipe": "full", "lr": 0.01, "epochs": 3, "augment": False, "batch_size": 8}


def test_the_image_that_is_to_blame_is_named(tiny, memory, tmp_path):
    """The model divides by how far an image is from white, and one is white."""
    images, labels = [image.copy() for image in memory[0]], list(memory[1])
    images[17][:] = 255
    model = tiny()
    forward = type(model).forward
    model.forward = lambda x: forward(model, x) / (1 - x.mean(dim=(1, 2, 3)))[:, None]
    val = (images[:3], labels[:3])
    with pytest.raises(TrainingError, match=r"in step \d+ .*; image 17 gives no finite loss") as error:
        finetune(model, (images, labels), val=val, **SETTINGS, out=tmp_path / "run")
    assert "leave it out" in (error.value.hint or "")
    kept = load_file(tmp_path / "run" / "diverged" / "batch.safetensors")
    about = json.loads((tmp_path / "run" / "diverged" / "batch.json").read_text())
    bad = about["images"].index("image 17")
    assert kept["inputs"].shape == (8, 3, 16, 16)
    assert [bool(torch.isfinite(loss)) for loss in kept["losses"]] == [i != bad for i in range(8)]
    assert kept["targets"].tolist() == [int(labels[int(n.split()[1])] == "dark") for n in about["images"]]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["status"] == "failed"


def test_a_learning_rate_that_is_too_high_blames_no_image(tiny, memory, tmp_path):
    with pytest.raises(TrainingError, match="at learning rate 1e\\+31") as error:
        finetune(tiny(), memory, **SETTINGS | {"lr": 1e30, "epochs": 9}, clip=None, out=tmp_path / "run")
    assert error.value.hint == "try lr=1e+29"
    assert (tmp_path / "run" / "diverged" / "batch.safetensors").exists()


def test_nothing_is_kept_without_a_folder(tiny, memory, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrainingError, match="became"):
        finetune(tiny(), memory, **SETTINGS | {"lr": 1e30, "epochs": 9}, clip=None)
    assert list(tmp_path.iterdir()) == []
