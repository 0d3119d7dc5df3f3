"""Parts of files from a server that is busy, breaks off or lies."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from email.message import Message
from typing import TYPE_CHECKING

import pytest

from torchgraft.errors import CorruptCheckpointError, FetchError
from torchgraft.storage.http_ranges import HttpRanges, open_http_ranges

if TYPE_CHECKING:
    from .conftest import Answer, Lie, RangeServer

CONTENT = random.Random(0).randbytes(10_000)
HEAD = 1000


class Pauses(list[float]):
    """Takes the place of `time.sleep`."""

    __call__ = list.append


def opened(server: RangeServer, address: str = "", pause: Pauses | None = None) -> HttpRanges:
    server.files["model"] = CONTENT
    made = open_http_ranges(
        address or server.address(), head=HEAD, timeout=5, pause=Pauses() if pause is None else pause
    )
    assert made is not None
    assert made[1] == CONTENT[:HEAD]
    return made[0]


def part(ranges: HttpRanges, offset: int, length: int) -> bytes:
    into = bytearray(length)
    ranges.read_into(offset, memoryview(into))
    return bytes(into)


def test_parts_are_what_they_should_be(server: RangeServer) -> None:
    ranges = opened(server)
    assert ranges.size == len(CONTENT)
    for offset, length in [(0, 1), (0, 10_000), (9_999, 1), (5_000, 0), (1_234, 4_321)]:
        assert part(ranges, offset, length) == CONTENT[offset : offset + length]
    assert server.log.requests == 5
    assert server.log.headers[-1]["If-Range"] == '"first"'
    assert server.log.headers[0]["Accept-Encoding"] == "identity"


def test_a_file_shorter_than_the_first_part(server: RangeServer) -> None:
    server.files["model"] = b"short"
    made = open_http_ranges(server.address(), head=HEAD)
    assert made is not None
    assert (made[1], made[0].size) == (b"short", 5)


@pytest.mark.parametrize("status", [200, 206])
def test_a_server_that_sends_whole_files_only(status: int, server: RangeServer) -> None:
    server.files["model"] = CONTENT

    def lie(_before: int, answer: Answer, _asked: Message) -> Answer:
        whole = replace(answer, status=status, body=CONTENT)
        return whole.but(Content_Range=f"bytes 0-{HEAD - 1}/*" if status == 206 else None)

    server.lie = lie
    assert open_http_ranges(server.address(), head=HEAD) is None


def test_an_empty_file(server: RangeServer) -> None:
    server.files["model"] = b""
    with pytest.raises(CorruptCheckpointError, match="empty"):
        open_http_ranges(server.address(), head=HEAD)


def first(status: int, times: int, **headers: str) -> Lie:
    """Answers with an error so many times after the first part, then honestly."""

    def lie(before: int, answer: Answer, _asked: Message) -> Answer:
        if 1 <= before <= times:
            return replace(answer, status=status, body=b"").but(Content_Length="0", **headers)
        return answer

    return lie


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status: int, server: RangeServer) -> None:
    pauses = Pauses()
    ranges = opened(server, pause=pauses)
    server.lie = first(status, 3, Retry_After="3")
    assert part(ranges, 2_000, 500) == CONTENT[2_000:2_500]
    assert pauses == [3.0, 3.0, 3.0]
    assert server.log.requests == 5


def test_pauses_grow_and_end(server: RangeServer) -> None:
    pauses = Pauses()
    ranges = opened(server, pause=pauses)
    server.lie = first(503, 99, Retry_After="99999")
    with pytest.raises(FetchError, match=r"503 .*5 attempts") as caught:
        part(ranges, 0, 10)
    assert caught.value.where == server.address()
    assert pauses == [30.0] * 4
    pauses.clear()
    server.lie = first(503, 99)
    with pytest.raises(FetchError):
        part(ranges, 0, 10)
    assert pauses == [0.5, 1.0, 2.0, 4.0]


def test_a_broken_connection_is_continued_where_it_broke(server: RangeServer) -> None:
    ranges = opened(server)
    server.log.clear()

    def lie(before: int, answer: Answer, _asked: Message) -> Answer | None:
        return [replace(answer, broken_after=300), None, replace(answer, broken_after=0), answer][before]

    server.lie = lie
    assert part(ranges, 1_000, 1_000) == CONTENT[1_000:2_000]
    assert server.log.ranges == ["bytes=1000-1999", *["bytes=1300-1999"] * 3]


def test_a_server_that_always_breaks_off(server: RangeServer) -> None:
    ranges = opened(server)
    server.lie = lambda _before, answer, _asked: replace(answer, broken_after=1)
    with pytest.raises(FetchError, match="connection broke"):
        part(ranges, 0, 1_000)
    assert server.log.requests == 1 + 5


def test_a_server_that_is_silent(server: RangeServer) -> None:
    server.files["model"] = CONTENT

    def lie(_before: int, answer: Answer, _asked: Message) -> Answer:
        server.ended.wait(30)
        return answer

    server.lie = lie
    with pytest.raises(FetchError, match=r"timed out.*5 attempts"):
        open_http_ranges(server.address(), head=HEAD, timeout=0.05, pause=Pauses())
    server.ended.set()


CHANGED = "changed while it was read"
LIES = {
    "another part": ({"Content_Range": "bytes 7-106/10000"}, "sends bytes 7 to 106"),
    "a longer part": ({"Content_Range": "bytes 5-105/10000"}, "sends bytes 5 to 105"),
    "another length": ({"Content_Range": "bytes 5-104/9000"}, CHANGED),
    "no range": ({"Content_Range": None}, "makes no sense"),
    "a range that is none": ({"Content_Range": "bytes five-six/10000"}, "makes no sense"),
    "a range of another unit": ({"Content_Range": "lines 5-104/10000"}, "makes no sense"),
    "an endless range": ({"Content_Range": f"bytes 5-104/{10**30}"}, "makes no sense"),
    "a huge announced length": ({"Content_Length": str(10**15)}, "1000000000000000 bytes in all"),
    "a length that is none": ({"Content_Length": "many"}, "many bytes in all"),
    "compressed": ({"Content_Encoding": "gzip"}, "'gzip'"),
    "another tag": ({"ETag": '"second"'}, CHANGED),
    "a tag less": ({"ETag": None}, CHANGED),
}


@pytest.mark.parametrize(("headers", "message"), LIES.values(), ids=LIES)
def test_lies_are_refused(headers: dict[str, str | None], message: str, server: RangeServer) -> None:
    ranges = opened(server)
    server.lie = lambda _before, answer, _asked: answer.but(**headers)
    with pytest.raises(FetchError, match=message) as caught:
        part(ranges, 5, 100)
    assert caught.value.where == server.address()
    assert server.log.requests == 2  # a lie is no reason to try again


@pytest.mark.parametrize("status", [200, 404, 410, 412, 416])
def test_another_status_later_means_that_the_file_changed(status: int, server: RangeServer) -> None:
    ranges = opened(server)
    server.lie = lambda _before, answer, _asked: replace(answer, status=status)
    with pytest.raises(FetchError, match=CHANGED):
        part(ranges, 5, 100)


def test_more_bytes_than_asked_for(server: RangeServer) -> None:
    ranges = opened(server)
    server.lie = lambda _before, answer, _asked: replace(answer, body=CONTENT).but(Content_Length=None)
    with pytest.raises(FetchError, match="more than the 100 bytes"):
        part(ranges, 5, 100)


def test_an_answer_that_does_not_say_how_long_it_is(server: RangeServer) -> None:
    ranges = opened(server)
    server.lie = lambda _before, answer, _asked: answer.but(Content_Length=None)
    assert part(ranges, 5, 100) == CONTENT[5:105]


@pytest.mark.parametrize(
    ("headers", "condition", "later", "fine"),
    [
        ({"ETag": 'W/"weak"'}, None, {"ETag": 'W/"weak"'}, True),
        ({"ETag": 'W/"weak"'}, None, {"ETag": 'W/"other"'}, False),
        (
            {"ETag": None, "Last_Modified": "Mon, 01"},
            "Mon, 01",
            {"ETag": None, "Last_Modified": "Mon, 01"},
            True,
        ),
        (
            {"ETag": None, "Last_Modified": "Mon, 01"},
            "Mon, 01",
            {"ETag": None, "Last_Modified": "Tue, 02"},
            False,
        ),
        ({"ETag": None}, None, {"ETag": None}, True),
    ],
)
def test_what_tells_that_a_file_changed(
    headers: dict[str, str | None],
    condition: str | None,
    later: dict[str, str | None],
    fine: bool,
    server: RangeServer,
) -> None:
    server.lie = lambda before, answer, _asked: answer.but(**(later if before else headers))
    ranges = opened(server)
    if fine:
        assert part(ranges, 5, 100) == CONTENT[5:105]
    else:
        with pytest.raises(FetchError, match=CHANGED):
            part(ranges, 5, 100)
    assert server.log.headers[-1]["If-Range"] == condition


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Content_Range": "bytes 1-1000/10000"}, "sends bytes 1 to 1000"),
        ({"Content_Range": "bytes 0-9/10000"}, "sends bytes 0 to 9"),
        ({"Content_Range": None}, "makes no sense"),
        ({"Content_Length": "5"}, "5 bytes in all"),
        ({"Content_Encoding": "br"}, "'br'"),
    ],
)
def test_lies_in_the_first_answer(headers: dict[str, str | None], message: str, server: RangeServer) -> None:
    server.files["model"] = CONTENT
    server.lie = lambda _before, answer, _asked: answer.but(**headers)
    with pytest.raises(FetchError, match=message):
        open_http_ranges(server.address(), head=HEAD, pause=Pauses())


def to(location: str, status: int = 302) -> Lie:
    def lie(_before: int, answer: Answer, _asked: Message) -> Answer:
        if answer.status == 404:
            return replace(answer, status=status).but(Location=location)
        return answer

    return lie


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status: int, server: RangeServer) -> None:
    server.lie = to("/model", status)
    ranges = opened(server, server.address("moved"))
    assert part(ranges, 5, 100) == CONTENT[5:105]
    assert server.log.headers[-1]["Range"] == "bytes=5-104"
    assert ranges.name.endswith("/moved")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("file:///etc/passwd?SECRET", "which is not the web"),
        ("ftp://127.0.0.1/x?SECRET", "which is not the web"),
        ("data:text/plain,SECRET", "which is not the web"),
        ("//me:SECRET@[::1", "not a valid address"),
        ("/moved?SECRET", "in a circle"),
        ("http://me:SECRET@127.0.0.1:1/x", "credentials of its own"),
    ],
)
def test_redirects_that_lead_astray(location: str, message: str, server: RangeServer) -> None:
    server.lie = to(location)
    with pytest.raises(FetchError, match=message) as caught:
        open_http_ranges(server.address("moved?SECRET"), head=HEAD, pause=Pauses())
    assert "SECRET" not in str(caught.value) + str(caught.value.__cause__)


def test_credentials_go_to_their_host_alone(server: RangeServer) -> None:
    token = f"Basic {base64.b64encode(b'me:pass word').decode()}"
    elsewhere = server.address().replace("127.0.0.1", "localhost")
    for location, given in [("/model", token), (elsewhere, None)]:
        server.log.clear()
        server.lie = to(location)
        opened(server, server.address("moved", user="me:pass%20word@"))
        assert [headers["Authorization"] for headers in server.log.headers] == [token, given]


@pytest.mark.parametrize(
    ("path", "message"),
    [("absent?sig=SECRET", "404"), ("model", "can't be reached")],
)
def test_errors_show_no_secrets(path: str, message: str, server: RangeServer) -> None:
    address = server.address(path, user="me:SECRET@")
    if path == "model":
        server.server_close()
        server.shutdown()
    pauses = Pauses()
    with pytest.raises(FetchError, match=message) as caught:
        open_http_ranges(address, head=HEAD, pause=pauses)
    assert "SECRET" not in str(caught.value) + str(caught.value.__cause__)
    assert "me:" not in str(caught.value)
    assert not pauses


@pytest.mark.parametrize(
    "address", ["https://[SECRET/x", "http://h:SECRET/x", "http:///x", "http://h/\nx", "ftp://h/x"]
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(FetchError, match=r"not a valid address|not fetched"):
        open_http_ranges(address, head=HEAD, pause=Pauses())


def test_spaces_and_letters_in_an_address(server: RangeServer) -> None:
    server.files["ein%20Modell%20%C3%BC"] = CONTENT
    opened(server, server.address("ein Modell ü"))
