import numpy as np
import pytest
import torch
from PIL import Image

from torchgraft.errors import TrainingError
from torchgraft.finetuning.inputs.augmentation import Augmentation
from torchgraft.model_info import Preprocessing

HOW = Preprocessing(size=(16, 16), interpolation="bilinear", mean=(0.0,) * 3, std=(1.0,) * 3)


def picture(seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.mark.parametrize("strength", ["light", "trivial", "rand"])
def test_a_photo_looks_the_same_in_an_epoch_and_other_in_the_next(strength):
    vary = Augmentation(HOW, scale=(0.3, 1.0), seed=1, strength=strength)
    first = vary(picture(), epoch=1, index=4)
    torch.manual_seed(5)
    vary(picture(), epoch=2, index=9)
    assert torch.equal(vary(picture(), epoch=1, index=4), first)
    assert first.shape == (3, 16, 16)
    assert first.dtype == torch.float32
    assert not torch.equal(vary(picture(), epoch=2, index=4), first)
    assert not torch.equal(vary(picture(), epoch=1, index=5), first)


def test_the_stronger_ones_start_from_the_same_part():
    """With the same seed, what is cut out is the same; colours and shapes are changed afterwards."""
    seen = {
        strength: Augmentation(HOW, scale=(1.0, 1.0), seed=3, strength=strength)
        for strength in ("light", "trivial", "rand")
    }
    changed = {
        strength: sum(
            not torch.equal(vary(picture(i), epoch=1, index=i), seen["light"](picture(i), epoch=1, index=i))
            for i in range(20)
        )
        for strength, vary in seen.items()
    }
    assert changed["light"] == 0
    assert changed["trivial"] > 10
    assert changed["rand"] > 10


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_tensors_are_scaled_alike(dtype):
    pixels = torch.from_numpy(np.asarray(picture()).copy()).permute(2, 0, 1)
    given = pixels if dtype == torch.uint8 else pixels.float() / 255
    vary = Augmentation(HOW, scale=(0.5, 1.0), seed=1)
    found, expected = vary(given, epoch=1, index=0), vary(picture(), epoch=1, index=0)
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.allclose(found, expected, atol=0.02)


def test_a_mask_is_cut_like_its_picture():
    numbers = np.arange(24 * 32).reshape(24, 32) % 256
    image = Image.fromarray(np.repeat(numbers[:, :, None], 3, axis=2).astype(np.uint8))
    how = Preprocessing(size=(12, 12), interpolation="nearest", mean=(0.0,) * 3, std=(1.0,) * 3)
    vary = Augmentation(how, scale=(0.3, 1.0), seed=2)
    for index in range(10):
        seen, mask = vary.pair(image, torch.from_numpy(numbers), epoch=1, index=index)
        assert type(mask) is torch.Tensor
        assert torch.equal((seen[0] * 255).round().long(), mask)


def test_what_can_not_be_varied_strongly():
    many = Preprocessing(size=(16, 16), mean=(0.0,) * 5, std=(1.0,) * 5)
    with pytest.raises(TrainingError, match="1 or 3 channels, and the model takes 5"):
        Augmentation(many, scale=(0.5, 1.0), seed=0, strength="rand")
    Augmentation(many, scale=(0.5, 1.0), seed=0)
    vary = Augmentation(HOW, scale=(0.5, 1.0), seed=0, strength="trivial")
    with pytest.raises(TrainingError, match="not for masks"):
        vary.pair(picture(), torch.zeros(24, 32, dtype=torch.long), epoch=1, index=0)
