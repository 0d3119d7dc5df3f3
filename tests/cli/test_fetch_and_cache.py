"""`fetch` and `cache`, against a file that is there already and a server that nobody runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from torchgraft.storage.cache_place import Place

URL = "https://weights.invalid/net.pth?token=SECRET"
BODY = b"weights" * 10


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Place:
    """A file that somebody put at its place in the cache, without a network."""
    monkeypatch.setenv("TORCHGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHGRAFT_OFFLINE", "1")
    monkeypatch.delenv("TORCHGRAFT_MIRROR", raising=False)
    place = Place.of(URL)
    place.folder.mkdir(parents=True)
    place.file.write_bytes(BODY)
    return place


def test_fetch_prints_where_it_is(kept, call):
    result = call("fetch", URL)
    assert (result.exit_code, result.stdout) == (0, f"{kept.file}\n")
    data = json.loads(call("fetch", URL, "--json").stdout)
    assert data == {"path": str(kept.file), "size": 70}


def test_fetch_says_what_is_missing_and_where_to_put_it(kept, call):
    kept.file.unlink()
    result = call("fetch", URL)
    assert result.exit_code == 8
    assert "offline" in result.stderr
    assert "put it at" in result.stderr
    assert "SECRET" not in result.output
    data = json.loads(call("fetch", URL, "--json").stdout)
    assert data["error"]["type"] == "FetchError"
    assert str(kept.file) in data["error"]["hint"]


def test_fetch_shows_what_it_waits_for(kept, call, monkeypatch):
    import torchgraft as tg
    from torchgraft.storage.download_event import Progress

    def fetch(url, *, sha256, timeout):
        progress = Progress("net.pth", None)
        progress.waiting()
        progress.received(35, 70)
        progress.retrying(35, 70, "it broke off")
        return kept.file

    monkeypatch.setattr(tg, "fetch", fetch)
    result = call("fetch", URL)
    assert "another process downloads net.pth" in result.stderr
    assert "it broke off; trying again" in result.stderr
    assert call("fetch", URL, "--quiet").stderr == ""


def test_the_cache(kept, call):
    call("fetch", URL)
    result = call("cache", "list")
    assert result.exit_code == 0
    assert "whole" in result.stdout
    assert "https://weights.invalid/net.pth" in result.stdout
    assert "1 file, 70 bytes, in" in result.stdout
    assert "SECRET" not in result.stdout
    data = json.loads(call("cache", "list", "--json").stdout)
    assert [(file["state"], file["path"]) for file in data["files"]] == [("whole", str(kept.file))]
    assert call("cache", "verify").exit_code == 0
    kept.file.write_bytes(b"other")
    result = call("cache", "verify", "--json")
    assert result.exit_code == 8
    assert [file["state"] for file in json.loads(result.stdout)["files"]] == ["damaged"]
    assert not kept.file.exists()


def test_cleaning(kept, call):
    call("fetch", URL)
    assert "0 files" in call("cache", "prune").stdout
    assert "1 file, 70 bytes, to remove from" in call("cache", "prune", "--all", "--dry-run").stdout
    assert kept.file.exists()
    assert "1 file, 70 bytes, removed from" in call("cache", "prune", "--all").stdout
    assert not kept.folder.exists()


@pytest.mark.parametrize(
    "arguments",
    [["cache"], ["cache", "mend"], ["cache", "list", "--all"], ["fetch"], ["fetch", "--timeout", "0", URL]],
)
def test_wrong_command_lines(arguments, kept, call):
    assert call(*arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [["fetch", URL], ["cache", "list"]])
def test_neither_needs_pytorch(arguments, kept):
    code = (
        "import sys\n"
        "from torchgraft.cli import commands\n"
        "try: commands(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert not {'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert Path(kept.folder).exists()
