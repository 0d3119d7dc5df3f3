import json

import pytest

from torchgraft import read_labels
from torchgraft.errors import DataError
from torchgraft.labels import comparable, labels_in


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("a.txt", "cat\n\n  big dog \n", ("cat", "big dog")),
        ("a.txt", "\ufeffcat\r\ndog\r\n", ("cat", "dog")),
        ("a.json", '["cat", "dog"]', ("cat", "dog")),
        ("a.json", '{"1": "dog", "0": "cat"}', ("cat", "dog")),
    ],
)
def test_reads(name, text, labels, tmp_path):
    (tmp_path / name).write_bytes(text.encode())
    assert read_labels(tmp_path / name) == labels


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b""),
        ("a.txt", b"\xff\xfe\x00"),
        ("a.json", b"[1, 2]"),
        ("a.json", b'{"0": "a", "2": "b"}'),
        ("a.json", b'{"x": "a"}'),
        ("a.json", b"{"),
        ("a.json", b"[" * 100_000),
        ("a.json", b"[]"),
        ("a.json", b'"cat"'),
    ],
)
def test_refuses(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_labels(tmp_path / name)
    assert caught.value.where == str(tmp_path / name)


def test_a_file_that_is_absent(tmp_path):
    with pytest.raises(DataError):
        read_labels(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("name", "data", "labels"),
    [
        ("class_index.json", {"0": ["n01440764", "tench"]}, ("n01440764, tench",)),
        ("class_to_idx.json", {"dog": 1, "cat": 0}, ("cat", "dog")),
        ("config.json", {"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}}, ("cat", "dog")),
    ],
)
def test_reads_other_tables(name, data, labels, tmp_path):
    (tmp_path / name).write_text(json.dumps(data))
    assert read_labels(tmp_path / name) == labels
    assert read_labels(str(tmp_path / name)) == labels
    if name == "config.json":
        assert read_labels(tmp_path) == labels


def test_lists_pass_and_others_do_not():
    assert read_labels(["a", "b"]) == ("a", "b")
    for wrong in ([], [1], ["a", None]):
        with pytest.raises(DataError, match="must be a list of class names"):
            read_labels(wrong)


def test_too_large(tmp_path):
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(DataError, match="too many for a list of names"):
        read_labels(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        ({"id2label": {0: "cat", 1: "dog"}}, ("cat", "dog")),
        ({"id2label": {"0": "LABEL_0"}}, None),
        ({"classes": 3}, None),
        ({"classes": ["a", 3], "names": ["x"]}, ("x",)),
        ({"class_to_idx": {"b": 1, "a": 0}}, ("a", "b")),
        ("cat", None),
    ],
)
def test_found_in_a_description(data, labels):
    assert labels_in(data) == labels


def test_synset_ids_and_names_beside_each_other():
    pytest.importorskip("timm")
    ids, names = ["n01440764", "n02123045"], ["tabby", "tench"]
    assert comparable(ids, names) == (("n01440764, tench, Tinca tinca", "n02123045, tabby, tabby cat"), names)
    assert comparable(ids, ids) == (ids, ids)
    assert comparable(None, ids) == (None, ids)
    assert comparable(names, ["n99999999"]) == (names, ("n99999999",))
