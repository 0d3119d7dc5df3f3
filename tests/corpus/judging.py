"""Opens every item of a corpus in a process of its own, and tells what happened, a line of JSON each.

`python judging.py ROOT` reads `ROOT/items.json`. PyTorch is imported once; each item is handled in a fork of
this process, which may read the item's folder and Python's own, and nothing else. What it uses beyond what
the fork began with is measured: processor time, and anonymous memory (pages of files don't count).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import sysconfig
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import gguf.quants  # noqa: F401 (imported here so that no item pays for it)
import numpy as np  # noqa: F401
import torch

import torchgraft as tg
import torchgraft.formats

sys.path.insert(0, str(Path(__file__).parents[1]))
from corpus.fingerprints import fingerprint

MEMORY = 256 << 20
HANG = 30.0  # seconds of the clock: only what hangs takes as long
CPU = 10  # seconds of the processor: what is more than twice the limit need not end
TWO_AT_ONCE = 2
_PYTHON = tuple(
    {
        os.path.realpath(path)
        for path in [*sysconfig.get_paths().values(), *sys.path[1:], *torch.__path__, *tg.__path__]
    }
)
_READS = {"open", "os.listdir", "os.scandir"}
_NEVER = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "os.mkdir",
    "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.chmod", "shutil.", "pickle.find_class",
    "urllib.", "webbrowser.", "os.truncate", "os.putenv", "tempfile.",
)  # fmt: skip


class Trespass(BaseException):
    """Not an Exception, so that nothing that is meant to catch errors catches it."""


def guard(folder: str, trespasses: list[str]) -> None:
    """From now on this process reads this folder and Python's own, writes nothing, and talks to nobody."""

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event in _READS:
            path = args[0]
            if isinstance(path, int) or path is None:
                return
            real = os.path.realpath(os.fsdecode(path))
            writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
            if not writes and (_within(real, folder) or any(_within(real, place) for place in _PYTHON)):
                return
        elif not event.startswith(_NEVER):
            return
        trespasses.append(f"{event} {args!r}"[:300])
        raise Trespass(event)

    sys.addaudithook(watch)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)


def judge(item: dict[str, Any], trespasses: list[str]) -> dict[str, Any]:
    """What opening it and reading all of it led to."""
    warnings.simplefilter("error")
    for harmless in ("Sparse .* tensor support", ".*quantized tensor creation", "ComplexHalf support"):
        warnings.filterwarnings("ignore", harmless)
    guard(item["folder"], trespasses)
    selects = [item["select"]] if item["kind"] == "Odd" else [".", None]
    try:
        for select in selects:
            checkpoint = tg.open(item["path"], select=select)
            read, sliced = {}, []
            for name, ref in checkpoint.items():
                tensor = ref.read()
                read[name] = fingerprint(tensor)
                if (str(tensor.dtype), tuple(tensor.shape)) != (f"torch.{ref.dtype}", ref.shape):
                    sliced.append(f"{name}: announced as {ref.dtype} {ref.shape}")
                if ref.shape and ref.shape[0] and item["kind"] == "Odd":
                    whole = plain(tensor)
                    sliced += [
                        f"{name}: other values at {index}"
                        for index in (slice(1, None), (..., slice(0, 1)))
                        if fingerprint(plain(ref[index])) != fingerprint(whole[index])
                    ]
            str(checkpoint)
    except tg.CheckpointError as error:
        return {
            "outcome": "refused", "type": type(error).__name__, "message": str(error), "hint": error.hint,
            "where": error.where,
        }  # fmt: skip
    except Trespass as error:
        return {"outcome": "trespassed", "message": str(error)}
    except BaseException:
        return {"outcome": "failed", "message": traceback.format_exc(limit=-6)}
    return {"outcome": "opened", "tensors": read, "slices": sliced, "classes": list(checkpoint.classes)}


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Its values as a dense tensor: PyTorch can't slice the others in every way."""
    if tensor.layout != torch.strided:
        return tensor.to_dense()
    return tensor.dequantize() if tensor.is_quantized else tensor


def run(item: dict[str, Any], answer: int) -> None:
    """In the fork: judge one item and write what happened."""
    output = os.open(item["output"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    data = _status("VmData") << 10
    limit = data + MEMORY + item["bytes"]
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU + 5))
    trespasses: list[str] = []
    before = time.process_time()
    result = judge(item, trespasses)
    result |= {"cpu": time.process_time() - before, "trespasses": trespasses}
    os.write(answer, json.dumps(result).encode())


def _status(field: str, pid: str = "self") -> int:
    """A number of `/proc/PID/status`, in KiB."""
    with open(f"/proc/{pid}/status", "rb") as status:  # noqa: PTH123
        for line in status:
            if line.startswith(field.encode() + b":"):
                return int(line.split()[1])
    return 0


class Running:
    """One item in a fork."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.item = item
        self.begun = time.monotonic()
        self.reads, writes = os.pipe()
        os.set_blocking(self.reads, False)
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.close(self.reads)
                run(item, writes)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(writes)
        self.first = self.anonymous()
        self.peak = self.first
        self.answer = b""
        self.killed = False

    def anonymous(self) -> int:
        """Bytes of its memory that are no file's."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as numbers:  # noqa: PTH123
                _, resident, shared, *_ = map(int, numbers.read().split())
        except (OSError, ValueError):
            return 0
        return (resident - shared) * resource.getpagesize()

    def poll(self) -> dict[str, Any] | None:
        """What happened, once it has ended."""
        self.peak = max(self.peak, self.anonymous())
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.reads, 1 << 16):
                self.answer += part
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if not done:
            if time.monotonic() - self.begun > HANG and not self.killed:
                os.kill(self.pid, signal.SIGKILL)
                self.killed = True
            return None
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.reads, 1 << 16):
                self.answer += part
        os.close(self.reads)
        if self.answer:
            result = json.loads(self.answer)
        else:
            said = Path(self.item["output"]).read_bytes()[-2000:].decode(errors="replace")
            ended = os.waitstatus_to_exitcode(status)
            result = {"outcome": "hung" if self.killed else "crashed", "message": f"{ended}: {said}"}
        return {"name": self.item["name"], "memory": self.peak - self.first} | result


def warm() -> None:
    """What every fork would do first is done once, here."""
    for module in pkgutil.walk_packages(torchgraft.formats.__path__, "torchgraft.formats."):
        importlib.import_module(module.name)
    fingerprint(torch.ones(2, dtype=torch.int8)[1:].clone())
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # a collection in a fork would touch, and so copy, every object


def main() -> None:
    items = json.loads((Path(sys.argv[1]) / "items.json").read_text())[::-1]
    warm()
    running: list[Running] = []
    while items or running:
        while items and len(running) < TWO_AT_ONCE:
            running.append(Running(items.pop()))
        for one in list(running):
            result = one.poll()
            if result is not None:
                running.remove(one)
                sys.stdout.write(json.dumps(result) + "\n")
        time.sleep(0.002)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
