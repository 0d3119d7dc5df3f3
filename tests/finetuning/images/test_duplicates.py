import imagehash
import numpy as np
import pytest
from PIL import Image, ImageFilter

from torchgraft.errors import DataError
from torchgraft.finetuning.images import Images
from torchgraft.finetuning.images.duplicates import difference_hash, find_duplicates
from torchgraft.finetuning.images.image_data import ImageData
from torchgraft.finetuning.learning_data import learning_data


def photo(seed: int, size=(200, 160)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def images(items, names) -> Images:
    return Images(list(items), (0,) * len(names), ("a",), tuple(names))


def files(folder, photos) -> Images:
    """`{name: function that writes it}`."""
    for name, image in photos.items():
        image.save(folder / name) if isinstance(image, Image.Image) else (folder / name).write_bytes(image)
    return images([folder / name for name in photos], photos)


def test_the_same_bytes_are_found_under_another_name(tmp_path):
    train = files(tmp_path, {f"t{i}.png": photo(i) for i in range(4)})
    copy = (tmp_path / "t2.png").read_bytes()
    same_size = copy[:-30] + bytes([copy[-30] ^ 1]) + copy[-29:]
    val = files(tmp_path, {"v0.png": photo(9), "v1.png": copy, "v2.png": same_size})
    found, exact, near = find_duplicates(train, val)
    assert found.exact == (("t2.png", "v1.png"),)
    assert (exact, near, found.near, bool(found)) == ({1}, set(), (), True)
    assert (
        "1 validation image is also in the training images, which flatters the score: v1.png = t2.png"
        in (found.notes()[0])
    )


def test_files_of_different_sizes_are_not_read(tmp_path, monkeypatch):
    train = files(tmp_path, {"t.png": b"1"})
    val = files(tmp_path, {"v.png": b"22"})
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: pytest.fail("read"))
    assert not find_duplicates(train, val)[0]


@pytest.mark.parametrize("kind", ["arrays", "tensors", "bytes"])
def test_in_memory(kind):
    import torch

    arrays = [np.asarray(photo(i, (9, 8))) for i in range(3)]
    convert = {"arrays": lambda a: a, "tensors": torch.from_numpy, "bytes": lambda a: a.tobytes()}[kind]
    train = images([convert(array.copy()) for array in arrays], "abc")
    val = images([convert(arrays[1].copy()), convert(arrays[1] ^ 1)], "xy")
    assert find_duplicates(train, val)[0].exact == (("b", "x"),)


def test_another_size_quality_or_brightness_looks_alike(tmp_path):
    train = files(tmp_path, {f"t{i}.png": photo(i) for i in range(30)})
    small, dim = photo(3).resize((90, 70)), photo(4).point(lambda v: v * 0.8)
    val = files(
        tmp_path,
        {
            "small.png": small,
            "dim.png": dim,
            "poor.jpg": photo(5),
            "soft.png": photo(6).filter(ImageFilter.GaussianBlur(1)),
            "grey.png": photo(7).convert("L"),
            "copy.png": (tmp_path / "t8.png").read_bytes(),
            **{f"new{i}.png": photo(100 + i) for i in range(30)},
        },
    )
    found, *_ = find_duplicates(train, val, near=True)
    assert found.exact == (("t8.png", "copy.png"),)
    assert found.near == tuple(
        (f"t{i}.png", name)
        for i, name in enumerate(["small.png", "dim.png", "poor.jpg", "soft.png", "grey.png"], start=3)
    )
    assert find_duplicates(train, val)[0].near == ()


def test_even_surfaces_are_no_duplicates(tmp_path):
    train = files(tmp_path, {"t.png": Image.new("RGB", (50, 40), "white")})
    val = files(tmp_path, {"v.png": Image.new("RGB", (60, 40), "black")})
    assert not find_duplicates(train, val, near=True)[0]


@pytest.mark.parametrize("seed", range(5))
def test_hashes_are_those_of_imagehash(seed):
    theirs = imagehash.dhash(photo(seed))
    assert difference_hash(photo(seed)) == int(str(theirs), 16)


def learn(data, val=0.25):
    return learning_data(
        data, val, known=None, seed=0, channels=3, unreadable="error", progress=lambda step, total: None
    )


def doubled():
    """16 photos, of which each occurs twice."""
    arrays = [np.asarray(photo(i // 2, (9, 8))) for i in range(32)]
    return arrays, ["ab"[(i // 2) % 2] for i in range(32)]


def test_copies_on_both_sides_are_reported_or_moved():
    reported = learn(doubled())
    pairs = reported.duplicates.exact
    assert pairs
    assert {held_out for _, held_out in pairs} <= set(reported.val.names)
    assert {train for train, _ in pairs} <= set(reported.train.names)
    assert "flatters the score" in reported.notes()[0]
    moved = learn(ImageData(doubled(), duplicates="train"))
    assert not find_duplicates(moved.train, moved.val)[0]
    assert moved.duplicates.moved == len(pairs) == len(reported.val) - len(moved.val)
    assert sorted(moved.train.names + moved.val.names) == sorted(reported.train.names + reported.val.names)
    assert "moved to the training side" in moved.notes()[0]
    assert learn(ImageData(doubled(), duplicates="ignore")).duplicates.exact == ()


def test_duplicates_take_their_group_along():
    arrays, labels = doubled()
    groups = [str(i // 8) for i in range(32)]
    arrays[0] = arrays[31]  # one photo that two groups share
    labels = ["ab"[i % 2] for i in range(32)]
    found = learn(ImageData((arrays, labels), groups=groups, duplicates="train"), val=0.5)
    assert not set(found.train.groups) & set(found.val.groups)


@pytest.mark.parametrize(
    ("how", "message"), [("train", "every validation image is among"), ("sometimes", "none of 'report'")]
)
def test_refusals(how, message):
    arrays = [np.asarray(photo(0, (9, 8)))] * 8
    with pytest.raises(DataError, match=message):
        learn(ImageData((arrays, list("abababab")), duplicates=how))
