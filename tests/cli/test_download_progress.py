"""What is shown of a download, whichever command it is for."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from torchgraft.cli.download_progress import DownloadProgress
from torchgraft.cli.image_progress import images_counted
from torchgraft.cli.output import Output
from torchgraft.storage.download_event import DownloadEvent, Progress, downloads_told

EVENTS = [
    DownloadEvent("waiting", "net.pth"),
    DownloadEvent("downloading", "net.pth", 1 << 20, 4 << 20),
    DownloadEvent("retrying", "net.pth", 1 << 20, 4 << 20, why="the connection broke"),
    DownloadEvent("downloading", "net.pth", 4 << 20, 4 << 20),
]
REMARKS = ["waiting: another process downloads net.pth", "the connection broke; trying again"]


@pytest.fixture
def screen(monkeypatch):
    """An output whose remarks go to a terminal, and what is on it."""
    output, shown = Output(), io.StringIO()
    monkeypatch.setattr(output, "_remarks", Console(file=shown, force_terminal=True, width=80))
    return output, shown


def test_only_what_goes_wrong_where_there_is_no_terminal(capsys):
    with DownloadProgress(Output()) as progress:
        for event in EVENTS:
            progress(event)
    assert capsys.readouterr().err.splitlines() == REMARKS


def test_nothing_when_quiet(capsys):
    with DownloadProgress(Output(quiet=True)) as progress:
        for event in EVENTS:
            progress(event)
    assert tuple(capsys.readouterr()) == ("", "")


def test_a_bar_on_a_terminal_which_goes_when_the_file_is_there(screen):
    output, shown = screen
    with DownloadProgress(output) as progress:
        for event in EVENTS[:-1]:
            progress(event)
        assert progress._bars is not None
        progress(EVENTS[-1])
        assert progress._bars is None
    assert "4.2/4.2 MB" in shown.getvalue()
    assert all(remark in shown.getvalue() for remark in REMARKS)


def test_who_hears_of_a_download_that_nobody_was_named_for():
    heard: dict[str, list[str]] = {"outer": [], "inner": [], "named": []}
    tell = {name: lambda event, name=name: heard[name].append(event.name) for name in heard}
    Progress("a", None).waiting()
    with downloads_told(tell["outer"]):
        Progress("b", None).waiting()
        with downloads_told(tell["inner"]):
            Progress("c", None).waiting()
            Progress("d", tell["named"]).waiting()
        Progress("e", None).waiting()
    Progress("f", None).waiting()
    assert heard == {"outer": ["b", "e"], "inner": ["c"], "named": ["d"]}


def test_images_are_counted(screen, capsys):
    output, shown = screen
    assert list(images_counted(iter(range(3)), output, "images")) == [0, 1, 2]
    assert "images 3" in shown.getvalue()
    assert list(images_counted(iter(range(3)), Output(), "images")) == [0, 1, 2]
    assert tuple(capsys.readouterr()) == ("", "")
