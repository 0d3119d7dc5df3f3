import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from torchgraft.finetuning.inputs.picture_store import PictureStore

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
PICTURES = {
    "photo": Image.fromarray(RGB),
    "grey photo": Image.fromarray(RGB[..., 0]),
    "tensor": torch.from_numpy(RGB).permute(2, 0, 1),
    "contiguous tensor": torch.from_numpy(RGB).permute(2, 0, 1).contiguous(),
    "four channels": torch.from_numpy(RNG.integers(0, 256, (4, 3, 7), dtype=np.uint8)),
}


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        # The layout, too: how fast it is resized depends on it.
        return isinstance(other, torch.Tensor) and torch.equal(one, other) and one.stride() == other.stride()
    return (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())


def test_pictures_come_back_bit_for_bit():
    store = PictureStore(len(PICTURES) + 1, limit=1000)
    for index, picture in enumerate(PICTURES.values()):
        assert store.get(index) is None
        store.add(index, picture)
    for index, picture in enumerate(PICTURES.values()):
        assert same(store.get(index), picture)
    assert store.get(len(PICTURES)) is None
    assert len(store) == len(PICTURES)


def test_what_does_not_fit_is_not_kept_and_smaller_ones_still_are():
    store = PictureStore(3, limit=100)
    store.add(0, PICTURES["photo"])
    store.add(1, PICTURES["tensor"])
    store.add(2, PICTURES["grey photo"].crop((0, 0, 5, 2)))
    assert [store.get(index) is not None for index in range(3)] == [True, False, True]
    assert same(store.get(0), PICTURES["photo"])


def test_floats_are_not_kept():
    store = PictureStore(1, limit=10_000)
    store.add(0, torch.rand(3, 4, 4))
    assert len(store) == 0


@pytest.mark.parametrize("store", [PictureStore(0), PictureStore(2, limit=0)])
def test_a_store_without_room(store):
    store.add(0, PICTURES["photo"])
    assert store.get(0) is None
    assert len(store) == 0


def test_another_process_that_was_not_forked_gets_an_empty_one():
    store = PictureStore(1, limit=1000)
    store.add(0, PICTURES["photo"])
    assert len(pickle.loads(pickle.dumps(store))) == 0


def test_the_usual_limit_is_a_share_of_what_is_free(monkeypatch):
    monkeypatch.setattr("torchgraft.finetuning.inputs.picture_store.available_memory", lambda: 450)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    one = PictureStore(2)  # 90 bytes: one photo of 90
    one.add(0, PICTURES["photo"])
    one.add(1, PICTURES["photo"])
    assert len(one) == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    half = PictureStore(2)
    half.add(0, PICTURES["photo"])
    assert len(half) == 0
