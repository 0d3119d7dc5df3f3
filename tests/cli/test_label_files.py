import pytest

from torchgraft.cli.label_files import read_labels
from torchgraft.errors import DataError


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


def test_no_file_no_labels():
    assert read_labels(None) is None
