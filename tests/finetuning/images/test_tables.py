import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torchgraft.errors import DataError
from torchgraft.finetuning.images import parts_of
from torchgraft.finetuning.images.columns import columns_of
from torchgraft.finetuning.images.image_data import ImageData


def table(folder: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text(text, encoding)
    return path


@pytest.mark.parametrize(
    ("text", "task", "classes", "labels"),
    [
        ("path,label\na.png,cat\nb.png,ant\n", "classes", ("ant", "cat"), (1, 0)),
        ("label,image\ncat,a.png\nant,b.png\n", "classes", ("ant", "cat"), (1, 0)),
        ("File,Class\na.png,1\nb.png,0\n", "classes", ("0", "1"), (1, 0)),
        ("filename,target\na.png,7\nb.png,3\n", "classes", ("3", "7"), (1, 0)),  # numbers with gaps are names
        ("path,label\na.png,1.0\nb.png,0.0\n", "classes", ("0", "1"), (1, 0)),
        ("path;label\na.png;cat\nb.png;ant\n", "classes", ("ant", "cat"), (1, 0)),
        ("path\tlabel\na.png\tcat\nb.png\tant\n", "classes", ("ant", "cat"), (1, 0)),
        ('path,label\n"a, b.png","hound, blue"\nb.png,ant\n', "classes", ("ant", "hound, blue"), (1, 0)),
        ("\ufeffpath,label\r\na.png,cat\r\n\r\nb.png,ant\r\n", "classes", ("ant", "cat"), (1, 0)),
        ("path,label\na.png,cat|ant\nb.png,ant\n", "multi-label", ("ant", "cat"), ((0, 1), (0,))),
        ("path,tags\na.png,cat; ant\nb.png,\nc.png,ant\n", None, (), ()),  # an empty field: see below
        (
            "path,cat,dog\na.png,1,0\nb.png,1,1\nc.png,0,0\n",
            "multi-label",
            ("cat", "dog"),
            ((0,), (0, 1), ()),
        ),
        ("path,age\na.png,1.5\nb.png,2.25\n", "regression", ("age",), ((1.5,), (2.25,))),
        ("path,x,y\na.png,1,0.5\nb.png,2,3\n", "regression", ("x", "y"), ((1, 0.5), (2, 3))),
        ("path,label\na.png,1.5\nb.png,x\n", "classes", ("1.5", "x"), (0, 1)),
    ],
)
def test_labels(tmp_path, text, task, classes, labels):
    path = table(tmp_path, text)
    if task is None:
        with pytest.raises(DataError, match="line 3 has nothing under 'tags'"):
            parts_of(path)
        return
    images = parts_of(path)["all"]
    assert (images.task, images.classes, images.labels) == (task, classes, labels)
    assert images.items[0].parent == tmp_path


@pytest.mark.parametrize(
    ("text", "told", "task", "classes", "labels"),
    [
        ("path,n\na,3\nb,5\n", {"task": "regression"}, "regression", ("n",), ((3.0,), (5.0,))),
        ("path,n\na,3.5\nb,5.5\n", {"task": "classes"}, "classes", ("3.5", "5.5"), (0, 1)),
        ("path,tags\na,x y\nb,\n", {"columns": {"separator": " "}}, "multi-label", ("x", "y"), ((0, 1), ())),
        ('path,tags\na,"x,y"\nb,y\n', {"task": "multi-label"}, "multi-label", ("x", "y"), ((0, 1), (1,))),
        ("path,tags\na,x|y\nb,y\n", {"task": "classes"}, "classes", ("x|y", "y"), (0, 1)),
        (
            "id,p,kind\n1,a,x\n2,b,y\n",
            {"columns": {"path": "p", "label": "kind"}},
            "classes",
            ("x", "y"),
            (0, 1),
        ),
        (
            "path,id,u,v\na,9,1,0\nb,8,0,1\n",
            {"columns": {"label": ["u", "v"]}, "task": "classes"},
            "classes",
            ("u", "v"),
            (0, 1),
        ),
        (
            "path,label\na,1\nb,0\n",
            {"classes": ["no", "yes"]},
            "classes",
            ("no", "yes"),
            (1, 0),
        ),
        ("path,label\na,b\nb,b\n", {"classes": ["a", "b"]}, "classes", ("a", "b"), (1, 1)),
    ],
)
def test_labels_as_told(tmp_path, text, told, task, classes, labels):
    images = parts_of(ImageData(table(tmp_path, text), **told))["all"]
    assert (images.task, images.classes, images.labels) == (task, classes, labels)


def test_parts_and_groups(tmp_path):
    rows = [
        ("a", "x", "train", "1"),
        ("b", "y", "Training", "2"),
        ("c", "x", "valid", "3"),
        ("d", "y", "test", "4"),
    ]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split", "group"), *rows])
    parts = parts_of(tmp_path / "t.csv")
    assert {name: (part.names, part.groups) for name, part in parts.items()} == {
        "train": (("a", "b"), ("1", "2")),
        "val": (("c",), ("3",)),
        "test": (("d",), ("4",)),
    }
    assert {part.classes for part in parts.values()} == {("x", "y")}


def test_masks_and_another_root(tmp_path):
    (tmp_path / "data").mkdir()
    Image.fromarray(np.array([[0, 2]], np.uint8)).save(tmp_path / "data" / "m.png")
    path = table(tmp_path, "image,mask\na.png,m.png\n")
    images = parts_of(ImageData(path, root=tmp_path / "data"))["all"]
    assert (images.task, images.classes) == ("segmentation", ("0", "1", "2"))
    assert images.items == [tmp_path / "data" / "a.png"]
    assert images.mask(0).tolist() == [[0, 2]]


@pytest.mark.parametrize(
    ("text", "told", "message"),
    [
        ("path,label\n", {}, "no lines below its header"),
        ("path,label\na\n", {}, "line 2 has 1 fields, the header 2"),
        ("path,path\na,b\n", {}, "two columns are called 'path'"),
        ("a,b\n1,2\n", {}, "no column of image paths among a, b"),
        ("path\na\n", {}, "no column of labels among path"),
        ("path,label\n,x\n", {}, "line 2 has nothing under 'path'"),
        ("path,x,y\na,1,cat\n", {}, "line 2 has 'cat' under 'y', which is not a number"),
        ("path,label\na,x\n", {"columns": {"label": "lable"}}, "no column 'lable'"),
        ("path,label\na,x\n", {"columns": {"lable": "label"}}, "columns has no 'lable'"),
        ("path,label,split\na,x,spare\n", {}, "a is in the part 'spare'"),
        ("path,label,split\na,x,val\nb,x,test\n", {}, "no image is in the part 'train'"),
        ("path,label\na,x\n", {"task": "regression"}, "line 2 has 'x' under 'label'"),
        ("path,label\na,nan\nb,1\n", {"task": "regression"}, "not a finite number"),
        ("path,u,v\na,1,1\n", {"task": "classes"}, "line 2 has 2 classes"),
        ("path,label\na,x\n", {"task": "clases"}, "there is no task 'clases'"),
        ("path,label\na,x\n", {"classes": ["y"]}, "label 'x' is none of the 1 classes"),
        ("path,label\na,x\n", {"groups": ["1", "2"]}, "1 images, but 2 groups"),
        ('path,label\na,"x\n', {}, "can't be read"),
        ("path,label\na,x\nb,y\na,y\n", {}, "a is listed twice, with different labels"),
    ],
)
def test_unusable_tables(tmp_path, text, told, message):
    with pytest.raises(DataError, match=message):
        parts_of(ImageData(table(tmp_path, text), **told))


def test_another_encoding_and_no_file(tmp_path):
    with pytest.raises(DataError, match="can't be read"):
        parts_of(table(tmp_path, "path,label\nä,x\n", encoding="latin-1"))
    with pytest.raises(DataError, match="No such file"):
        parts_of(tmp_path / "absent.csv")


def test_left_over_columns_are_labels_and_known_names_are_not():
    found = columns_of(["image", "u", "v", "fold", "group"], {"split": "fold"}, where="it")
    assert (found.path, found.label, found.split, found.group) == ("image", ("u", "v"), "fold", "group")


def test_a_function_of_the_name_gives_groups(tmp_path):
    path = table(tmp_path, "path,label\np1_a,x\np1_b,y\np2_a,x\n")
    images = parts_of(ImageData(path, groups=lambda name: name.split("_")[0]))["all"]
    assert images.groups == ("p1", "p1", "p2")
    split = table(tmp_path, "path,label,split\na,x,train\nb,x,val\n", "split.csv")
    with pytest.raises(DataError, match="split already"):
        parts_of(ImageData(split, groups=len))
