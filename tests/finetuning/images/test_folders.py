import shutil
from pathlib import Path

import pytest

from torchgraft.errors import DataError
from torchgraft.finetuning import image_folder
from torchgraft.finetuning.images.folders import folder_parts, image_paths


def test_classes_and_photos_are_sorted_by_name(make_folder):
    images = image_folder(make_folder({"zebra": 2, "ant": 1}))
    assert images.classes == ("ant", "zebra")
    assert images.labels == (0, 1, 1)
    assert images.names == ("ant/00.png", "zebra/00.png", "zebra/01.png")
    assert images.counts() == {"ant": 1, "zebra": 2}


def test_nested_folders_and_loud_suffixes_count_hidden_ones_do_not(make_folder):
    root = make_folder({"cat/indoors": 1, "dog": 1, ".git": 1, "dog/.thumbs": 1})
    (root / "dog" / "00.png").rename(root / "dog" / "A.PNG")
    shutil.copy(root / "dog" / "A.PNG", root / "dog" / "._A.png")
    (root / "dog" / "notes.txt").write_text("no photo")
    assert image_folder(root).names == ("cat/indoors/00.png", "dog/A.PNG")


def test_links_in_a_circle_end(make_folder):
    root = make_folder({"cat": 1, "dog": 1})
    (root / "cat" / "again").symlink_to(root / "cat", target_is_directory=True)
    assert [path.name for path in image_paths(root / "cat")] == ["00.png"]


@pytest.mark.parametrize(
    ("layout", "parts"),
    [
        ({"a": 2, "b": 2}, {"all": 4}),
        ({"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1}, {"train": 4, "val": 2}),
        ({"train/a": 2, "train/b": 2, "valid/b": 1}, {"train": 4, "val": 1}),
        ({"train/a": 2, "train/b": 2, "dev/b": 1}, {"train": 4, "val": 1}),
        ({"Train/a": 2, "Train/b": 2, "test/a": 1, "VAL/a": 3}, {"train": 4, "val": 3, "test": 1}),
        ({"train/a": 2, "train/b": 2}, {"all": 4}),
        ({"train": 2, "bus": 1}, {"all": 3}),  # photos of trains
    ],
)
def test_parts(make_folder, layout, parts):
    found = folder_parts(make_folder(layout))
    assert {name: len(images) for name, images in found.items()} == parts
    assert len({images.classes for images in found.values()}) == 1


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "no photos"),
        ({"a": 0, "b": 0}, "no photos"),
        ({"a": 1, "b": 0}, "no photos in class folder 'b'"),
        ({"train/a": 1, "train/b": 1, "val/c": 1}, "train/ has not: c"),
    ],
)
def test_unusable_folders(make_folder, layout, message):
    with pytest.raises(DataError, match=message) as caught:
        folder_parts(make_folder(layout))
    assert "photos" in (caught.value.where or "")


def test_photos_without_class_folders_are_counted(make_folder):
    root = make_folder({"a": 3})
    with pytest.raises(DataError, match="3 photos, but no class folders") as caught:
        image_folder(root / "a")
    assert "photos/cat/1.jpg" in (caught.value.hint or "")


@pytest.mark.parametrize(("name", "message"), [("absent", "no such folder"), ("file", "not a folder")])
def test_no_folder(tmp_path: Path, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=message):
        image_folder(tmp_path / name)


def test_split_folder_is_refused_where_classes_are_asked_for(make_folder):
    with pytest.raises(DataError, match="train/ and val/"):
        image_folder(make_folder({"train/a": 1, "train/b": 1, "val/a": 1}))
