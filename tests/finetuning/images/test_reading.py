import io

import numpy as np
import pytest
import torch
from PIL import Image

from torchgraft.errors import DataError
from torchgraft.finetuning.images import Images, keep_readable
from torchgraft.finetuning.images.reading import read_picture

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)


def values(item, channels):
    """0…1, (height, width, channels)."""
    picture = read_picture(item, channels, where="it")
    if isinstance(picture, torch.Tensor):
        return picture.numpy().transpose(1, 2, 0)
    return np.atleast_3d(np.asarray(picture, dtype=np.float32) / 255)


def luminance(rgb):
    return rgb @ np.array([0.299, 0.587, 0.114])


GREY3 = np.repeat(GREY[..., None], 3, axis=2) / 255
ALPHA = np.dstack([RGB, RNG.integers(0, 256, (6, 5), dtype=np.uint8)])
CASES = [
    ("rgb photo", Image.fromarray(RGB), 3, RGB / 255),
    ("grey photo to rgb", Image.fromarray(GREY), 3, GREY3),
    ("rgb photo to grey", Image.fromarray(RGB), 1, luminance(RGB / 255)[..., None]),
    ("rgba photo", Image.fromarray(ALPHA), 3, RGB / 255),
    ("grey and alpha", Image.fromarray(np.dstack([GREY, GREY])), 3, GREY3),
    ("1 bit", Image.fromarray(GREY > 99).convert("1"), 1, (GREY > 99)[..., None]),
    ("16-bit photo", Image.fromarray(DEEP), 1, DEEP[..., None] / 65535),
    ("16-bit as 32", Image.fromarray(DEEP.astype(np.int32)), 1, DEEP[..., None] / 65535),
    ("grey array", GREY, 3, GREY3),
    ("rgb array", RGB, 1, luminance(RGB / 255)[..., None]),
    ("rgb array as it is", RGB, 3, RGB / 255),
    ("rgba array", ALPHA, 3, RGB / 255),
    ("four channels", ALPHA, 4, ALPHA / 255),
    ("two channels", ALPHA[..., :2], 2, ALPHA[..., :2] / 255),
    ("16-bit array", DEEP, 1, DEEP[..., None] / 65535),
    ("float array", RGB / 255, 3, RGB / 255),
    ("float array to grey", RGB / 255, 1, luminance(RGB / 255)[..., None]),
    ("bool array", GREY > 99, 1, (GREY > 99)[..., None]),
    ("tensor", torch.from_numpy(RGB.transpose(2, 0, 1).copy()), 3, RGB / 255),
    ("float tensor", torch.from_numpy(RGB.transpose(2, 0, 1) / 255.0), 3, RGB / 255),
    ("flat tensor", torch.from_numpy(GREY), 1, GREY[..., None] / 255),
]


@pytest.mark.parametrize(("item", "channels", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_values(item, channels, expected):
    np.testing.assert_allclose(values(item, channels), expected, atol=0.5 / 255)


def test_palette_with_transparency():
    image = Image.fromarray(RGB).quantize(8)
    expected = np.asarray(image.convert("RGB")) / 255
    file = io.BytesIO()
    image.save(file, "PNG", transparency=bytes([0] * 4 + [255] * 4))
    np.testing.assert_array_equal(values(Image.open(file), 3), expected.astype(np.float32))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(tmp_path, orientation):
    """EXIF: how the stored rows and columns are to be shown (TIFF 6.0, tag 274)."""
    shown = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_allclose(values(tmp_path / "a.png", 3), shown(RGB) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("item", "channels", "message"),
    [
        (Image.fromarray(RGB), 4, "can't be read as 4 channels"),
        (RGB, 5, "has 3 channels"),
        (RGB.transpose(2, 0, 1), 3, "has 5 channels"),
        (np.zeros((2, 2, 2, 2), np.uint8), 3, "can't have shape"),
        (np.zeros((0, 4), np.uint8), 3, "can't have shape"),
        (RGB.astype(np.int64), 3, "dtype int64"),
        (RGB.astype(np.float32), 3, "must lie in 0…1"),
        (np.full((2, 2), np.nan), 1, "must lie in 0…1"),
        (object(), 3, "can't be a object"),
        ("absent.png", 3, "can't be read"),
    ],
)
def test_unusable(item, channels, message):
    with pytest.raises(DataError, match=message) as caught:
        read_picture(item, channels, where="cat/7.png")
    assert caught.value.where == "cat/7.png"


def broken_set(tmp_path) -> Images:
    Image.fromarray(RGB).resize((64, 64)).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("not a photo")
    (tmp_path / "empty.png").write_bytes(b"")
    names = ("whole.jpg", "cut.jpg", "text.png", "empty.png")
    return Images([tmp_path / name for name in names], (0, 1, 0, 1), ("a", "b"), names)


def test_broken_photos_are_named_and_counted(tmp_path):
    with pytest.raises(
        DataError, match=r"3 of 4 images are unusable \(cut.jpg, text.png, empty.png\)"
    ) as caught:
        keep_readable(broken_set(tmp_path), channels=3)
    assert caught.value.where == "cut.jpg"
    assert "unreadable='skip'" in (caught.value.hint or "")


def test_broken_photos_are_skipped_when_asked(tmp_path, caplog):
    images, skipped = keep_readable(broken_set(tmp_path), channels=3, unreadable="skip")
    assert images.names == ("whole.jpg",)
    assert skipped == ("cut.jpg", "text.png", "empty.png")
    assert "3 of 4 images" in caplog.text


def test_nothing_is_left_to_skip(tmp_path):
    images = broken_set(tmp_path).subset([1, 2])
    with pytest.raises(DataError, match="2 of 2 images"):
        keep_readable(images, channels=3, unreadable="skip")
