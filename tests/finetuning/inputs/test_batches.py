from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from torchgraft.finetuning.images import Images
from torchgraft.finetuning.inputs.augmentation import Augmentation
from torchgraft.finetuning.inputs.batches import EpochOrder, Inputs, batches, usual_workers
from torchgraft.finetuning.inputs.input_tensor import evaluation_input
from torchgraft.finetuning.inputs.picture_store import PictureStore
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
    loader = batches(Inputs(images(5), HOW, target=int), batch_size=2)
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


@pytest.mark.parametrize("start", [0, 4, 8, 12, 29, 30, 40])
def test_an_epoch_can_begin_later(start):
    order = EpochOrder(30, 4, 0)
    order.set_epoch(3)
    whole = list(order)
    order.set_epoch(3, start)
    assert list(order) == whole[start:]
    assert len(order) == len(whole[start:])
    order.set_epoch(3)
    assert list(order) == whole


def test_what_comes_before_a_later_beginning_is_not_read():
    class Counted(list):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    read: list[int] = []
    data = images(10)
    inputs = Inputs(Images(Counted(data.items), data.labels, data.classes, data.names), HOW)
    order = EpochOrder(10, 2, 0)
    order.set_epoch(1)
    whole = [batch[2].tolist() for batch in batches(inputs, batch_size=2, order=order)]
    read.clear()
    order.set_epoch(1, 6)
    assert [batch[2].tolist() for batch in batches(inputs, batch_size=2, order=order)] == whole[3:]
    assert list(dict.fromkeys(read)) == [index for batch in whole[3:] for index in batch]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["arrays", "jpeg", "png"])
@pytest.mark.parametrize("varied", [False, True])
def test_kept_pictures_make_no_difference(tmp_path, workers, kind, varied):
    """Nor do workers that live on from epoch to epoch, or room for some of the pictures only."""
    data = images(7)
    if kind != "arrays":
        paths = [tmp_path / f"{name}.{kind}" for name in data.names]
        for path, array in zip(paths, data.items, strict=True):
            Image.fromarray(array).save(path)
        data = Images(paths, data.labels, data.classes, data.names)
    augmentation = Augmentation(HOW, scale=(0.3, 1.0), seed=0) if varied else None
    plain, kept, some = (
        Inputs(data, HOW, augmentation, repeated=repeated) for repeated in (False, True, True)
    )
    some.kept = PictureStore(7, limit=3 * 16 * 18 * 3)
    loaders = [batches(inputs, batch_size=2, workers=workers) for inputs in (kept, some)]
    for epoch in (1, 2, 3):
        for inputs in (plain, kept, some):
            inputs.epoch = epoch
        expected = torch.stack([plain[index][0] for index in range(7)])
        for loader in loaders:
            assert torch.equal(torch.cat([batch[0] for batch in loader]), expected)
    assert (len(plain.kept), len(kept.kept)) == (0, 7)
    assert 3 <= len(some.kept) <= 7 - varied


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(300, 200), (90, 130)])
def test_jpegs_are_varied_as_tensors_much_as_pil_would_do_it(tmp_path, interpolation, size):
    """torchvision resizes 8-bit tensors with weights of 16 bits, and PIL rounds between its two passes."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(tmp_path / "a.jpg")
    how = replace(HOW, size=(64, 64), interpolation=interpolation, mean=(0.0,) * 3, std=(1.0,) * 3)
    augmentation = Augmentation(how, scale=(0.3, 1.0), seed=0)
    one = Images([tmp_path / "a.jpg"], (0,), ("a",), ("a",))
    assert isinstance(one.image(0, tensors=True), torch.Tensor)
    for epoch in range(10):
        quick = augmentation(one.image(0, tensors=True), epoch=epoch, index=0)
        slow = augmentation(one.image(0), epoch=epoch, index=0)
        assert (quick - slow).abs().max() <= 2.01 / 255


@pytest.mark.parametrize("varied", [False, True])
def test_kept_pictures_keep_their_masks(varied):
    data = images(4)
    masks = tuple((array[..., 0] > 99).astype(np.uint8) for array in data.items)
    data = replace(data, labels=masks, task="segmentation")
    augmentation = Augmentation(HOW, scale=(0.3, 1.0), seed=0) if varied else None
    plain, kept = (Inputs(data, HOW, augmentation, target=torch.clone, repeated=r) for r in (False, True))
    for _ in range(2):
        for index in range(4):
            for one, other in zip(plain[index], kept[index], strict=True):
                assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    assert len(kept.kept) == 4
    unmasked = Inputs(data, HOW)
    assert torch.equal(unmasked[1][0], evaluation_input(data.image(1), HOW))


def test_kept_pictures_are_not_read_again(tmp_path):
    Image.fromarray(images(1).items[0]).save(tmp_path / "a.png")
    inputs = Inputs(Images([tmp_path / "a.png"], (0,), ("a",), ("a",)), HOW, repeated=True)
    first = inputs[0][0]
    (tmp_path / "a.png").unlink()
    assert torch.equal(inputs[0][0], first)


@pytest.mark.parametrize(
    ("count", "cores", "gpu", "processes", "expected"),
    [
        (100, 64, True, 1, 0),
        (10_000, 2, False, 1, 0),
        (10_000, 16, False, 1, 4),
        (10_000, 16, True, 1, 8),
        (10_000, 4, True, 1, 3),
        (10_000, 16, True, 8, 1),
        (10_000, 1, True, 1, 0),
    ],
)
def test_usual_number_of_workers(monkeypatch, count, cores, gpu, processes, expected):
    monkeypatch.setattr("torchgraft.finetuning.inputs.batches.cores", lambda: cores)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert usual_workers(count) == expected


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
