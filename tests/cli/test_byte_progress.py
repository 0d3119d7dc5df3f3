"""Bars of bytes: what they are told, and where they are shown."""

from __future__ import annotations

import io
from functools import partial

import pytest
import torch
from rich.console import Console

import torchgraft as tg
from torchgraft.cli.byte_progress import byte_progress
from torchgraft.cli.output import Output
from torchgraft.measuring import measure


@pytest.fixture
def two(tmp_path):
    """Two checkpoints of the same names; the size of one's tensors."""
    tensors = {f"{i}.weight": torch.full((i + 1, 5), float(i)) for i in range(6)}
    torch.save(tensors, tmp_path / "a.pth")
    tg.save({name: tensor + 1 for name, tensor in tensors.items()}, tmp_path / "b.safetensors")
    return tmp_path, sum(tensor.nbytes for tensor in tensors.values())


@pytest.mark.parametrize("suffix", ["safetensors", "pth", ""])
@pytest.mark.parametrize("opened", [False, True])
def test_convert_tells_of_every_byte(two, suffix, opened):
    folder, size = two
    told: list[tuple[int, int]] = []
    source = tg.open(folder / "a.pth") if opened else folder / "a.pth"
    target = folder / (f"new.{suffix}" if suffix else "new")
    tg.convert(source, target, on_bytes=lambda *now: told.append(now))
    assert told == sorted(told)
    assert told[-1] == (size, size)
    assert len(told) >= 6
    assert tg.diff(folder / "a.pth", target, values=True).equal


def test_convert_that_casts_counts_what_it_reads(two):
    folder, size = two
    told: list[tuple[int, int]] = []
    tg.convert(folder / "a.pth", folder / "n.pth", dtype="float16", on_bytes=lambda *now: told.append(now))
    assert told[-1] == (size, size)


def test_diff_and_measure_tell_of_every_byte(two):
    folder, size = two
    told: list[tuple[int, int]] = []
    tg.diff(folder / "a.pth", folder / "b.safetensors", values=True, on_bytes=lambda *now: told.append(now))
    assert told == sorted(told)
    assert told[-1] == (2 * size, 2 * size)
    told.clear()
    measure(tg.open(folder / "a.pth"), on_bytes=lambda *now: told.append(now))
    assert told == sorted(told)
    assert told[-1] == (size, size)
    told.clear()
    tg.diff(folder / "a.pth", folder / "b.safetensors", on_bytes=lambda *now: told.append(now))
    assert told == []  # headers only


def test_a_bar_on_a_terminal(monkeypatch):
    output = Output()
    screen = io.StringIO()
    monkeypatch.setattr(output, "_remarks", Console(file=screen, force_terminal=True, width=80))
    with byte_progress(output, "comparing") as on_bytes:
        assert on_bytes is not None
        on_bytes(1 << 20, 4 << 20)
    assert "comparing" in screen.getvalue()
    assert "1.0/4.2 MB" in screen.getvalue()


@pytest.mark.parametrize("options", [{}, {"quiet": True}, {"json": True, "quiet": True}])
def test_nothing_where_there_is_no_terminal(options, capsys):
    with byte_progress(Output(**options), "comparing") as on_bytes:
        assert on_bytes is None
    assert tuple(capsys.readouterr()) == ("", "")


@pytest.mark.parametrize(
    "command",
    [
        ["convert", "a.pth", "-o", "c.pth"],
        ["diff", "a.pth", "b.safetensors", "--values"],
        ["inspect", "a.pth", "--values"],
    ],
)
def test_commands_that_read_everything_show_one(command, two, call, monkeypatch):
    monkeypatch.chdir(two[0])
    screen = io.StringIO()
    shown = partial(Console, file=screen, force_terminal=True, width=80)
    monkeypatch.setattr(Output, "lively", property(lambda self: not self.quiet))
    monkeypatch.setattr(Output, "remarks", property(lambda self: shown()))
    call(*command)
    assert "/" in screen.getvalue()
    screen.truncate(0)
    call(*command, "--quiet")
    assert screen.getvalue() == ""
