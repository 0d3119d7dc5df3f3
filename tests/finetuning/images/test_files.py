"""What every kind of file is read as: the oracle is the array that it was written from."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from torchgraft.errors import DataError, MissingDependencyError
from torchgraft.finetuning.images import files
from torchgraft.finetuning.images.reading import DatasetEntry, check_picture, read_picture

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)
DEEP_RGB = RNG.integers(0, 65536, (6, 5, 3), dtype=np.uint16)
FLOAT = RNG.random((6, 5), dtype=np.float32)
BANDS = RNG.integers(0, 65536, (6, 5, 7), dtype=np.uint16)
CMYK = Image.fromarray(RGB).convert("CMYK")


def repeated(grey):
    return np.repeat(grey[..., None], 3, axis=2)


def photo(suffix, **options):
    def write(image, path):
        if not isinstance(image, Image.Image):
            image = Image.fromarray(image)
        image.save(path, suffix, **options)

    return write


def tiff(array, path):
    tifffile.imwrite(path, array, photometric="minisblack", planarconfig="contig")


def planar(array, path):
    tifffile.imwrite(path, array.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate")


def npy(array, path):
    with path.open("wb") as file:
        np.save(file, array)


PALETTE = Image.fromarray(RGB).quantize(8)
CASES = {
    "png": (photo("PNG"), RGB, 3, RGB / 255),
    "png in grey": (photo("PNG"), GREY, 3, repeated(GREY) / 255),
    "png for one channel": (photo("PNG"), GREY, 1, GREY[..., None] / 255),
    "png with alpha": (photo("PNG"), RGBA, 3, RGBA[..., :3] / 255),
    "png with alpha for four": (photo("PNG"), RGBA, 4, RGBA / 255),
    "png of a palette": (photo("PNG"), PALETTE, 3, np.asarray(PALETTE.convert("RGB")) / 255),
    "png of 1 bit": (photo("PNG"), GREY > 99, 1, (GREY > 99)[..., None]),
    "png of 16 bits": (photo("PNG"), DEEP, 1, DEEP[..., None] / 65535),
    "png of 16 bits to rgb": (photo("PNG"), DEEP, 3, repeated(DEEP) / 65535),
    "tiff of cmyk": (photo("TIFF"), CMYK, 3, np.asarray(CMYK.convert("RGB")) / 255),
    "webp": (photo("WEBP", lossless=True), RGB, 3, RGB / 255),
    "gif": (photo("GIF"), PALETTE, 3, np.asarray(PALETTE.convert("RGB")) / 255),
    "bmp": (photo("BMP"), RGB, 3, RGB / 255),
    "tiff": (photo("TIFF"), RGB, 3, RGB / 255),
    "tiff of 16 bits": (photo("TIFF"), DEEP, 1, DEEP[..., None] / 65535),
    "tiff of floats": (photo("TIFF"), FLOAT, 1, FLOAT[..., None]),
    "tiff of seven bands": (tiff, BANDS, 7, BANDS / 65535),
    "tiff of seven planes": (planar, BANDS, 7, BANDS / 65535),
    "tiff of four bands of 8 bits": (tiff, RGBA, 4, RGBA / 255),
    "tiff of four planes": (planar, RGBA, 4, RGBA / 255),
    "tiff of five float bands": (tiff, BANDS[..., :5] / np.float32(65535), 5, BANDS[..., :5] / 65535),
    "npy": (npy, RGB, 3, RGB / 255),
    "npy of seven bands": (npy, BANDS, 7, BANDS / 65535),
    "npy of floats": (npy, FLOAT, 1, FLOAT[..., None]),
}


def values(picture):
    """0…1, (height, width, channels)."""
    if isinstance(picture, torch.Tensor):
        scale = 255 if picture.dtype == torch.uint8 else 1
        return picture.permute(1, 2, 0).numpy() / scale
    return np.atleast_3d(np.asarray(picture, dtype=np.float32) / 255)


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_file(tmp_path, case):
    write, array, channels, expected = CASES[case]
    path = tmp_path / "file"  # what it is, is told from its content
    write(array, path)
    for item in (path, str(path), path.read_bytes(), {"bytes": path.read_bytes(), "path": None}):
        np.testing.assert_allclose(
            values(read_picture(item, channels, where="it")), expected, atol=1e-6, rtol=0
        )
        assert check_picture(item, channels, where="it") == (6, 5)
    quick = read_picture(path, channels, where="it", tensors=True)
    np.testing.assert_allclose(values(quick), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bit_colours_are_read_as_8_bits(tmp_path, kind):
    """As PIL, and so timm and torchvision, read them."""
    path = tmp_path / "a"
    if kind == "png":
        path.write_bytes(png(6, 5, b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP_RGB)))
    else:
        tifffile.imwrite(path, DEEP_RGB, photometric="rgb")
    picture = read_picture(path, 3, where="it")
    assert picture.mode == "RGB"
    assert np.abs(values(picture) - DEEP_RGB / 65535).max() <= 1 / 255


def png(height: int, width: int, rows: bytes) -> bytes:
    """A 16-bit RGB PNG; PIL writes none."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def encoded(kind: str, array=RGB) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).resize((40, 50)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"not a photo", "no known image format"),
        (cut(encoded("JPEG")), "truncated"),
        (cut(encoded("PNG")), "truncated|broken"),
        (cut(encoded("BMP")), "truncated"),
        (encoded("JPEG")[:30], "no known image format|[Tt]runcated"),
        (b"\x93NUMPY\x01\0", "can't be read"),
    ],
)
@pytest.mark.parametrize("read", [read_picture, check_picture])
def test_damaged_files(tmp_path, data, message, read):
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "a.jpg", 3, where="cat/7.jpg")
    assert caught.value.where == "cat/7.jpg"


def test_pickles_in_npy_files_are_not_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="allow_pickle"):
        read_picture(tmp_path / "a.npy", 3, where="it")


def test_too_few_bands(tmp_path):
    tiff(BANDS, tmp_path / "a.tif")
    with pytest.raises(DataError, match="has 7 channels") as caught:
        read_picture(tmp_path / "a.tif", 3, where="it")
    assert "in_channels" in (caught.value.hint or "")


def test_without_tifffile_the_hint_is_its_command(tmp_path, monkeypatch):
    import sys

    tiff(BANDS, tmp_path / "a.tif")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(MissingDependencyError, match="tifffile") as caught:
        read_picture(tmp_path / "a.tif", 7, where="it")
    assert caught.value.hint == "pip install tifffile"


def test_floats_outside_of_their_range(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FLOAT * 300)
    with pytest.raises(DataError, match="must lie in 0…1"):
        read_picture(tmp_path / "a.tif", 1, where="it")


def test_entries_of_a_dataset_may_be_files():
    entry = DatasetEntry([{"image": {"bytes": encoded("PNG"), "path": None}}], 0, "image")
    assert read_picture(entry, 3, where="it").size == (40, 50)


def test_large_photos_take_the_quicker_decoder_and_stay_the_same(tmp_path, monkeypatch):
    Image.fromarray(RGB).resize((120, 90)).save(tmp_path / "a.jpg", exif=turned(6))
    slow = read_picture(tmp_path / "a.jpg", 3, where="it")
    seen = []
    original = files.jpeg_pixels
    monkeypatch.setattr(files, "_LARGE", 0)
    monkeypatch.setattr(files, "jpeg_pixels", lambda *given: seen.append(0) or original(*given))
    quick = read_picture(tmp_path / "a.jpg", 3, where="it")
    assert seen
    assert (quick.mode, quick.size) == (slow.mode, slow.size) == ("RGB", (90, 120))
    assert quick.tobytes() == slow.tobytes()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def test_paths_may_be_of_any_kind():
    with pytest.raises(DataError, match="No such file"):
        read_picture(Path("absent.png"), 3, where="it")
