"""A file that is read as a whole: from our own server and from fsspec's memory, and how much at most."""

import pytest

from torchgraft.errors import FetchError
from torchgraft.storage.small_file import read_small

DATA = bytes(range(256)) * 40


def test_all_of_it(server):
    server.files["cat.png"] = DATA
    assert read_small(server.address("cat.png"), most=len(DATA)) == DATA
    assert read_small(server.address("cat.png", user="me:secret@"), most=1 << 20) == DATA
    assert server.log.headers[-1]["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("says_its_length", [True, False])
def test_no_more_than_is_allowed(server, says_its_length):
    server.files["cat.png"] = bytes(1 << 20)
    if not says_its_length:
        server.lie = lambda _count, answer, _asked: answer.but(Content_Length=None)
    with pytest.raises(FetchError, match="larger than 1,000 bytes"):
        read_small(server.address("cat.png"), most=1000)


@pytest.mark.parametrize("path", ["absent.png?token=secret", "absent.png"])
def test_what_is_not_there_is_named_without_secrets(server, path):
    with pytest.raises(FetchError, match="404") as caught:
        read_small(server.address(path, user="me:secret@"), most=10)
    assert "secret" not in str(caught.value)


def test_an_answer_that_breaks_off(server):
    from dataclasses import replace

    server.files["cat.png"] = DATA
    server.lie = lambda _count, answer, _asked: replace(answer, broken_after=500)
    with pytest.raises(FetchError):
        read_small(server.address("cat.png"), most=1 << 20)


def test_through_fsspec():
    import fsspec

    system = fsspec.filesystem("memory")
    system.pipe("/test_small_file/cat.png", DATA)
    try:
        assert read_small("memory://test_small_file/cat.png", most=len(DATA)) == DATA
        with pytest.raises(FetchError, match="larger than 100 bytes"):
            read_small("memory://test_small_file/cat.png", most=100)
        with pytest.raises(FetchError):
            read_small("memory://test_small_file/dog.png", most=100)
    finally:
        system.rm("/test_small_file", recursive=True)
