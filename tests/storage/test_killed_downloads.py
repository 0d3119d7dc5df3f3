"""Processes killed while they download, and many that ask at once: each file is whole or not there."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from email.message import Message

import pytest
from tests.storage.conftest import Answer, RangeServer

from torchgraft.storage.cache_place import Place
from torchgraft.storage.download import fetch

SIZE = 3 << 20
BODY = random.Random(7).randbytes(SIZE)
DIGEST = hashlib.sha256(BODY).hexdigest()

FETCH = """
import sys
from torchgraft.storage import download_event, partial
from torchgraft.storage.download import fetch
partial.NOTE_BYTES = 1 << 17
download_event._EVERY = 0
tell = (lambda event: print(event.received, flush=True)) if sys.argv[2] == "talk" else None
print("ready", flush=True)
sys.stdin.readline()
print(fetch(sys.argv[1], timeout=60, on_event=tell), flush=True)
"""


def started(url: str, talk: bool = False, **environment: str) -> subprocess.Popen[str]:
    """A process that fetches a file as soon as it is told to; it may tell how many bytes have come."""
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, url, "talk" if talk else ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


class Killer:
    """Kills a process when it tells that some random number of bytes has come, the last one included."""

    def __init__(self, server: RangeServer, seed: int) -> None:
        self.random = random.Random(seed)
        self.victim: subprocess.Popen[str] | None = None
        self.begun_at: list[int] = []
        self.wait_for = 0
        server.lie = self.lie

    def lie(self, _before: int, answer: Answer, asked: Message) -> Answer:
        if self.victim is None or answer.status == 404:
            return answer
        self.begun_at.append(SIZE - len(answer.body))
        self.wait_for = self.random.choice([SIZE, self.random.randint(self.begun_at[-1], SIZE)])
        return replace(answer, stalled_after=self.wait_for - self.begun_at[-1], meanwhile=self.kill)

    def kill(self) -> None:
        assert self.victim is not None
        assert self.victim.stdout is not None
        for line in self.victim.stdout:
            if not line.strip().isdigit() or int(line) >= self.random.randint(0, self.wait_for):
                break
        self.victim.kill()


def killed_again_and_again(server: RangeServer, names: Iterator[str], times: int, seed: int) -> Killer:
    """Each name is fetched and killed, up to three times, and then fetched to the end."""
    killer = Killer(server, seed)
    killed = 0
    while killed < times:
        name = next(names)
        server.files[name] = BODY
        place = Place.of(server.address(name))
        for _ in range(min(killer.random.randint(1, 3), times - killed)):
            process = started(server.address(name), talk=True)
            killer.victim = process
            go(process)
            assert process.wait(60) in (-signal.SIGKILL, 0)  # it may be done before the signal comes
            killed += process.returncode != 0
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()
            if place.file.exists():  # as anyone would see it who looks now
                assert place.file.read_bytes() == BODY
                break
        killer.victim = None
        assert fetch(server.address(name)).read_bytes() == BODY
        left = {file.name for file in place.folder.iterdir()} - {name, ".record.json"}
        assert all(file.startswith(".record.json") for file in left)  # killed after the file was there
    return killer


def names_of(kind: str) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"net{number}-{DIGEST[:8]}.pth" if kind == "digest" else f"net{number}.pth"


@pytest.mark.parametrize("kind", ["digest", "tag"])
def test_the_next_run_finishes_it(kind: str, server: RangeServer) -> None:
    killer = killed_again_and_again(server, names_of(kind), 10, seed=1)
    assert any(killer.begun_at)  # some went on where another had been killed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["digest", "tag"])
def test_a_hundred_times(kind: str, server: RangeServer) -> None:
    killer = killed_again_and_again(server, names_of(kind), 100, seed=2)
    assert sum(at > 0 for at in killer.begun_at) > 10


@pytest.mark.parametrize("name", ["net.pth", f"net-{DIGEST[:8]}.pth"])
def test_eight_at_once_make_one_download(name: str, server: RangeServer) -> None:
    """Eight ranks of one machine; the first answer stands still until all of them have asked for the file."""
    asked = threading.Event()
    server.files[name] = BODY
    server.lie = lambda _before, answer, _asked: (
        answer if answer.status == 404 else replace(answer, stalled_after=SIZE // 2, meanwhile=asked.wait)
    )
    ranks = [started(server.address(name), RANK=str(rank), WORLD_SIZE="8") for rank in range(8)]
    try:
        for rank in ranks:
            go(rank)
        asked.set()
        said = [rank.communicate(timeout=60) for rank in ranks]
    finally:
        asked.set()
        for rank in ranks:
            with suppress(ProcessLookupError):
                rank.kill()
            rank.wait()
    place = Place.of(server.address(name))
    assert [out for out, _ in said] == [f"{place.file}\n"] * 8, said
    assert place.file.read_bytes() == BODY
    assert len(server.log.ranges) == 1 + (name == "net.pth")  # the second asks for a digest beside it
    assert server.log.sent == SIZE


def test_threads_of_one_process_make_one_download(server: RangeServer) -> None:
    server.files["net.pth"] = BODY
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(server.address("net.pth")).read_bytes()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [BODY] * 8
    assert server.log.sent == SIZE
