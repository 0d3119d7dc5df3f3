"""A server that does everything wrong: the right bytes come in the end, or an error; never a bad file."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.message import Message
from pathlib import Path

import pytest
from tests.storage.conftest import Answer, Lie, RangeServer

from torchgraft.errors import FetchError
from torchgraft.storage import download
from torchgraft.storage.cache_place import Place
from torchgraft.storage.download import fetch

BODY = random.Random(5).randbytes(300_000)
OTHER = random.Random(6).randbytes(300_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
HASHED, PLAIN = f"net-{DIGEST[:8]}.pth", "net.pth"


@pytest.fixture
def pauses(server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(download, "_pause", waited.append)
    server.files |= {PLAIN: BODY, HASHED: BODY}
    return waited


def first(change: Callable[[Answer], Answer | None], times: int = 1) -> Lie:
    """Lies so many times, then tells the truth."""
    return lambda before, answer, _: change(answer) if before < times else answer


def always(change: Callable[[Answer], Answer | None]) -> Lie:
    return lambda _before, answer, _asked: change(answer) if answer.status != 404 else answer


def whole(answer: Answer) -> Answer:
    """As a server that knows no ranges answers."""
    if answer.status == 404:
        return answer
    return replace(answer, status=200, body=BODY).but(Content_Range=None, Content_Length=str(len(BODY)))


def busy(status: int, **headers: str) -> Callable[[Answer], Answer]:
    return lambda _: Answer(
        status, {"Content-Length": "0", **{k.replace("_", "-"): v for k, v in headers.items()}}
    )


def chunked(answer: Answer, broken: bool = False) -> Answer:
    body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (answer.body[:100_000], answer.body[100_000:]))
    changed = answer.but(Content_Length=None, Transfer_Encoding="chunked")
    return replace(changed, body=body[:200_000] if broken else body + b"0\r\n\r\n")


def endless(answer: Answer, length: int | None = None) -> Answer:
    return replace(answer.but(Content_Length=None), body=answer.body[:length])


def changed_between(before: int, answer: Answer, asked: Message) -> Answer:
    """The file is replaced after the first answer broke; an honest server then sends all of the new one."""
    if answer.status == 404:
        return answer
    if before == 0:
        return replace(answer.but(ETag='"old"'), body=OTHER, broken_after=100_000)
    assert before > 1 or asked["If-Range"] == '"old"'
    return whole(answer)


def changed_unsaid(by: str) -> Lie:
    """The same from a server that does not look at If-Range; its tag or the length tells."""

    def lie(before: int, answer: Answer, _asked: Message) -> Answer:
        if before == 0 and by == "tag":
            return replace(answer.but(ETag='"old"'), body=OTHER, broken_after=100_000)
        if before == 0:
            return replace(answer.but(Content_Length="310000"), body=OTHER, broken_after=100_000)
        return answer

    return lie


def other_part(before: int, answer: Answer, _asked: Message) -> Answer:
    if before == 0:
        return replace(answer, broken_after=100_000)
    if before == 1:
        return replace(answer, body=BODY[:200_000]).but(Content_Range="bytes 0-199999/300000")
    return answer


def wrong_rest(before: int, answer: Answer, _asked: Message) -> Answer:
    if before == 0:
        return replace(answer, broken_after=100_000)
    return replace(answer, body=OTHER[100_000:]) if before == 1 else answer


def out_of_range(before: int, answer: Answer, _asked: Message) -> Answer:
    if before == 0:
        return replace(answer, broken_after=100_000)
    return Answer(416, {"Content-Range": "bytes */300000", "Content-Length": "0"}) if before == 1 else answer


def half(answer: Answer) -> Answer:
    return replace(answer, broken_after=100_000)


@dataclass(frozen=True)
class Case:
    """A fault that is got over; `ranges` is what is asked for, without what is asked for a digest."""

    lie: Lie
    ranges: list[str]
    name: str = PLAIN
    waits: int = 1
    timeout: float = 30.0


REST = "bytes=100000-"
CASES = {
    "dropped": Case(first(half), ["", REST]),
    "dropped before a byte": Case(first(lambda _: None), ["", ""]),
    "dropped twice": Case(
        lambda before, answer, _: replace(answer, broken_after=50_000) if before < 2 else answer,
        ["", "bytes=50000-", REST],
        waits=2,
    ),
    "dropped, and nothing tells the version": Case(
        lambda before, answer, _: (half(answer) if before == 0 else answer).but(ETag=None), ["", ""]
    ),
    "dropped, and only the digest tells": Case(
        lambda before, answer, _: (half(answer) if before == 0 else answer).but(ETag=None),
        ["", REST],
        name=HASHED,
    ),
    "dropped, dated": Case(
        lambda before, answer, _: (half(answer) if before == 0 else answer).but(
            ETag=None, Last_Modified="Sat, 01 Jan 2022 00:00:00 GMT"
        ),
        ["", REST],
    ),
    "dropped, with a weak tag": Case(
        lambda before, answer, _: (half(answer) if before == 0 else answer).but(ETag='W/"1"'), ["", ""]
    ),
    "stalled": Case(first(lambda a: replace(a, stalled_after=100_000)), ["", REST], timeout=0.3),
    "stalled before a byte": Case(first(lambda a: replace(a, stalled_after=0)), ["", ""], timeout=0.3),
    "range ignored": Case(
        lambda before, answer, _: half(answer) if before == 0 else whole(answer), ["", REST]
    ),
    "changed between parts": Case(changed_between, ["", REST]),
    "changed, told by the tag alone": Case(changed_unsaid("tag"), ["", REST, ""], waits=2),
    "changed, told by the length alone": Case(changed_unsaid("length"), ["", REST, ""], waits=2),
    "another part": Case(other_part, ["", REST, ""], waits=2),
    "a rest of wrong bytes": Case(wrong_rest, ["", REST, ""], name=HASHED, waits=2),
    "out of range": Case(out_of_range, ["", REST, ""], waits=2),
    "5xx": Case(first(busy(503), 3), ["", "", "", ""], waits=3),
    "429": Case(first(busy(429, Retry_After="7")), ["", ""]),
    "chunked": Case(always(chunked), [""], waits=0),
    "chunked, broken": Case(first(lambda a: chunked(a, broken=True)), ["", "bytes=199984-"]),
    "no length": Case(always(endless), [""], name=HASHED, waits=0),
    "no length, broken": Case(first(lambda a: endless(a, 100_000)), ["", ""], name=HASHED),
    "more than announced": Case(always(lambda a: replace(a, body=a.body + b"more")), [""], waits=0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_fault_that_is_got_over(case: Case, server: RangeServer, pauses: list[float]) -> None:
    server.lie = case.lie
    path = fetch(server.address(case.name), timeout=case.timeout)
    assert path.read_bytes() == BODY
    asked = server.log.ranges[: len(server.log.ranges) - (case.name == PLAIN)]  # the last is for a digest
    assert asked == case.ranges
    assert len(pauses) == case.waits
    assert {file.name for file in path.parent.iterdir()} == {case.name, ".record.json"}


@dataclass(frozen=True)
class Fatal:
    """A fault that stays, and what is said of it."""

    lie: Lie
    message: str
    name: str = PLAIN
    requests: int = 1
    waits: int | None = None
    timeout: float = 30.0


def page(answer: Answer) -> Answer:
    html = b"\n<!doctype html><title>Log in</title>"
    return replace(answer, body=html).but(Content_Length=str(len(html)), Content_Type="text/html")


def pointer(answer: Answer) -> Answer:
    text = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    return replace(answer, body=text).but(Content_Length=str(len(text)))


def moved(to: str) -> Callable[[Answer], Answer]:
    return lambda _: Answer(302, {"Location": to, "Content-Length": "0"})


def with_headers(**headers: str) -> Lie:
    return always(lambda answer: answer.but(**headers))


FATAL = {
    "dropped without end": Fatal(always(lambda a: replace(a, broken_after=10)), "broke off", requests=5),
    "closed without end": Fatal(always(lambda _: None), "reached", requests=5),
    "stalled without end": Fatal(
        always(lambda a: replace(a, stalled_after=0)), "timed out", requests=5, timeout=0.1
    ),
    "5xx without end": Fatal(always(busy(500)), "500", requests=5),
    "429 without end": Fatal(always(busy(429)), "429", requests=5),
    "short, and says so": Fatal(
        always(lambda a: replace(a, body=BODY[:100]).but(Content_Length="100")), "wrong bytes", HASHED
    ),
    "wrong bytes of the right length": Fatal(always(lambda a: replace(a, body=OTHER)), "wrong bytes", HASHED),
    "a page": Fatal(always(page), "web page"),
    "a pointer": Fatal(always(pointer), "LFS pointer"),
    "nothing": Fatal(always(lambda a: replace(a, body=b"").but(Content_Length="0")), "empty"),
    "neither length nor digest": Fatal(always(endless), "neither length nor digest", requests=2),
    "compressed": Fatal(with_headers(Content_Encoding="gzip"), "compressed"),
    "absent": Fatal(always(busy(404)), "404"),
    "forbidden": Fatal(always(busy(403)), "403"),
    "moved in a circle": Fatal(always(moved(f"/{PLAIN}")), "circle", requests=5, waits=0),
    "moved to a file": Fatal(always(moved("file:///etc/hostname")), "not the web"),
    "moved to ftp": Fatal(always(moved("ftp://127.0.0.1/x")), "not the web"),
    "another digest in its headers": Fatal(
        with_headers(Repr_Digest=f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"), "wrong bytes"
    ),
    "another digest of the hub's": Fatal(with_headers(X_Linked_ETag=f'"{"0" * 64}"'), "wrong bytes"),
}


@pytest.mark.parametrize("case", FATAL.values(), ids=FATAL)
def test_a_fault_that_stays(case: Fatal, server: RangeServer, pauses: list[float]) -> None:
    server.lie = case.lie
    place = Place.of(server.address(case.name))
    with pytest.raises(FetchError, match=case.message):
        fetch(server.address(case.name), timeout=case.timeout)
    assert server.log.requests == case.requests
    assert not place.file.exists()
    assert len(pauses) == (case.waits if case.waits is not None else 4 * (case.requests == 5))
    server.lie = None
    assert fetch(server.address(case.name)).read_bytes() == BODY  # nothing is in the way
    assert {file.name for file in place.folder.iterdir()} == {case.name, ".record.json"}


def test_what_came_is_gone_on_with_by_the_next_call(server: RangeServer, pauses: list[float]) -> None:
    server.lie = lambda before, answer, _: half(answer) if before == 0 else None
    with pytest.raises(FetchError, match="5 attempts"):
        fetch(server.address(PLAIN))
    server.lie, server.log.ranges = None, []
    assert fetch(server.address(PLAIN)).read_bytes() == BODY
    assert server.log.ranges == [REST, ""]


@pytest.mark.parametrize("damage", ["part", "note", "shorter"])
def test_a_part_that_is_damaged_is_not_gone_on_with(
    damage: str, server: RangeServer, pauses: list[float]
) -> None:
    server.lie = lambda before, answer, _: half(answer) if before == 0 else None
    with pytest.raises(FetchError):
        fetch(server.address(PLAIN))
    place = Place.of(server.address(PLAIN))
    if damage == "note":
        place.note.write_text('{"size": -1}')
    else:
        place.part.write_bytes(BODY[:99_999] + (b"" if damage == "shorter" else b"?"))
    server.lie, server.log.ranges = None, []
    assert fetch(server.address(PLAIN)).read_bytes() == BODY
    assert server.log.ranges == ["", ""]


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("9999", 30.0), ("0", 0.5), ("soon", 0.5)])
def test_how_long_a_server_wants_one_to_wait(
    asked: str, waited: float, server: RangeServer, pauses: list[float]
) -> None:
    server.lie = first(busy(429, Retry_After=asked))
    fetch(server.address(PLAIN))
    assert pauses == [waited]


@pytest.mark.parametrize(
    ("sidecar", "right"), [(DIGEST, True), (f"{DIGEST}  {PLAIN}\n", True), ("0" * 64, False)]
)
@pytest.mark.parametrize("lie", [None, always(endless)], ids=["length", "no length"])
def test_a_digest_beside_the_file(
    lie: Lie | None, sidecar: str, right: bool, server: RangeServer, pauses: list[float]
) -> None:
    server.files[f"{PLAIN}.sha256"] = sidecar.encode()
    server.lie = lie and (
        lambda before, answer, asked: answer if b"0" * 64 in answer.body else lie(before, answer, asked)
    )
    if right:
        assert fetch(server.address(PLAIN)).read_bytes() == BODY
        return
    with pytest.raises(FetchError, match="wrong bytes"):
        fetch(server.address(PLAIN))
    assert not Place.of(server.address(PLAIN)).file.exists()


def test_the_disk_and_the_network_are_told_apart(
    server: RangeServer, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torchgraft.storage.partial.Partial.add", full)
    with pytest.raises(FetchError, match=r"cache can't be written: .* No space left"):
        fetch(server.address(PLAIN))
    assert pauses == []


def test_a_cache_for_reading_only_serves(
    server: RangeServer, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch(server.address(HASHED))
    (path.parent / ".record.json").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("torchgraft.storage.cache_record.write_json", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    server.log.clear()
    assert fetch(server.address(HASHED)) == path
    assert server.log.requests == 0
