import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchgraft.finetuning.augmentation import Augmentation
from torchgraft.finetuning.batches import EpochOrder, Inputs, batches
from torchgraft.finetuning.images import Images
from torchgraft.finetuning.input_tensor import evaluation_input
from torchgraft.model_info import Preprocessing

HOW = Preprocessing((12, 12), 1.0, "bilinear", (0.5,) * 3, (0.5,) * 3)


def images(count: int) -> Images:
    photos = np.random.default_rng(0).integers(0, 256, (count, 16, 18, 3), dtype=np.uint8)
    return Images(list(photos), tuple(i % 2 for i in range(count)), ("a", "b"), tuple(map(str, range(count))))


def varied(count: int, seed: int = 0) -> Inputs:
    return Inputs(images(count), HOW, Augmentation(HOW, scale=(0.3, 1.0), seed=seed))


@given(
    count=st.integers(2, 80), batch_size=st.integers(2, 20), seed=st.integers(0, 99), epoch=st.integers(0, 99)
)
def test_an_epoch_shows_each_photo_once_and_no_batch_is_a_single_photo(count, batch_size, seed, epoch):
    order = EpochOrder(count, batch_size, seed)
    order.set_epoch(epoch)
    shown = list(order)
    assert len(shown) == len(order) == len(set(shown))
    assert set(shown) <= set(range(count))
    assert len(shown) == count - (count % batch_size == 1 and count > batch_size)
    assert len(shown) % batch_size != 1
    assert list(order) == shown


def test_orders_differ_by_epoch_and_seed():
    orders = set()
    for seed in (0, 1):
        order = EpochOrder(30, 4, seed)
        for epoch in (1, 2):
            order.set_epoch(epoch)
            orders.add(tuple(order))
    assert len(orders) == 4


def test_without_an_order_photos_come_as_they_are():
    loader = batches(Inputs(images(5), HOW), batch_size=2)
    inputs, labels, indices = (torch.cat(parts) for parts in zip(*loader, strict=True))
    assert inputs.shape == (5, 3, 12, 12)
    assert labels.tolist() == [0, 1, 0, 1, 0]
    assert indices.tolist() == [0, 1, 2, 3, 4]


def test_variations_depend_on_seed_epoch_and_photo_only():
    first = varied(4)
    first.epoch = 1
    before = torch.random.get_rng_state()
    shown = [first[i][0] for i in range(4)]
    assert torch.equal(torch.random.get_rng_state(), before)
    again = [first[i][0] for i in reversed(range(4))][::-1]
    assert all(map(torch.equal, shown, again))
    first.epoch = 2
    assert not torch.equal(shown[0], first[0][0])
    other = varied(4, seed=1)
    other.epoch = 1
    assert not torch.equal(shown[0], other[0][0])


def test_workers_make_no_difference():
    inputs = varied(6)
    alone = torch.cat([batch[0] for batch in batches(inputs, batch_size=2)])
    helped = torch.cat([batch[0] for batch in batches(inputs, batch_size=2, workers=2)])
    assert torch.equal(alone, helped)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_variations_have_the_input_shape_and_range(channels):
    how = HOW.with_channels(channels)
    array = np.random.default_rng(0).integers(0, 256, (16, 18, channels), dtype=np.uint8)
    inputs = Inputs(Images([array], (0,), ("a",), ("0",)), how, Augmentation(how, scale=(0.3, 1.0), seed=0))
    tensor = inputs[0][0]
    assert tensor.shape == (channels, 12, 12)
    assert -1 <= tensor.min() < tensor.max() <= 1


def test_a_crop_of_everything_is_the_photo_or_its_mirror():
    """With the whole of a square photo as the only crop, nothing but the mirror image is left."""
    array = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    one = Images([array], (0,), ("a",), ("0",))
    inputs = Inputs(one, HOW, Augmentation(HOW, scale=(1.0, 1.0), seed=0))
    plain = evaluation_input(one.image(0), HOW)
    kinds = set()
    for epoch in range(20):
        inputs.epoch = epoch
        tensor = inputs[0][0]
        if tensor.shape == plain.shape and torch.equal(tensor, plain):
            kinds.add("photo")
        if torch.equal(tensor, plain.flip(2)):
            kinds.add("mirror")
    assert kinds == {"photo", "mirror"}
