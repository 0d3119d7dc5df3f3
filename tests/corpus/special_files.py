"""What is no file, or no checkpoint, but may stand where one is expected."""

from __future__ import annotations

import gzip
import os
import socket
import tarfile
from pathlib import Path

import torch
from safetensors.torch import save

from corpus.items import Bad, Item, Odd, Site, Values, file, zipped
from corpus.zip_pickles import saved


def fifo(site: Site) -> Path:
    os.mkfifo(site.folder / "x")
    return site.folder / "x"


def unix_socket(site: Site) -> Path:
    here = Path.cwd()
    os.chdir(site.folder)  # such a path may have 107 bytes only
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("x")
    finally:
        os.chdir(here)
    return site.folder / "x"


def linked(target: str, name: str = "x") -> object:
    def write(site: Site) -> Path:
        (site.folder / name).symlink_to(target)
        return site.folder / name

    return write


def hidden_device(site: Site) -> Path:
    """A folder whose weights are a device."""
    (site.folder / "model.safetensors").symlink_to("/dev/zero")
    return site.folder


def hidden_fifo(site: Site) -> Path:
    os.mkfifo(site.folder / "model.safetensors")
    return site.folder


def sparse_file(site: Site) -> Path:
    """64 MiB of nothing."""
    with (site.folder / "x").open("wb") as made:
        made.truncate(1 << 26)
    return site.folder / "x"


def two(site: Site) -> Path:
    for name in ("a.safetensors", "b.safetensors"):
        (site.folder / name).write_bytes(save({"w": torch.ones(1)}))
    return site.folder


def empty_tar(site: Site) -> Path:
    with tarfile.open(site.folder / "x", "w") as made:
        made.addfile(tarfile.TarInfo("model.pth"))
    return site.folder / "x"


def by_a_link(site: Site) -> tuple[Path, Values]:
    """The path itself may be a link to anywhere: the user named it."""
    (site.folder / "real").write_bytes(save({"w": torch.ones(2)}))
    (site.folder / "x").symlink_to("real")
    return site.folder / "x", {"w": torch.ones(2)}


def strange_name(site: Site) -> tuple[Path, Values]:
    path = site.folder / "größe \n 'x' .pth.tmp"
    path.write_bytes(saved({"w": torch.ones(2)}))
    return path, {"w": torch.ones(2)}


def loop_beside(site: Site) -> tuple[Path, Values]:
    """Links that lead nowhere or in circles beside the weights are not followed."""
    (site.folder / "model.safetensors").write_bytes(save({"w": torch.ones(2)}))
    (site.folder / "loop").symlink_to(site.folder)
    (site.folder / "README.md").symlink_to("nowhere")
    (site.folder / "optimizer.pt").symlink_to("/dev/zero")
    return site.folder, {"w": torch.ones(2)}


ITEMS: list[Item] = [
    Odd("file: by a link", by_a_link),
    Odd("file: a strange name", strange_name),
    Odd("folder: links in circles beside", loop_beside),
    Bad("file: a pipe", fifo, ("a pipe",)),
    Bad("file: a socket", unix_socket, ("a socket",)),
    Bad("file: a device", linked("/dev/zero"), ("a device",)),
    Bad("file: a link to itself", linked("x"), ("symbolic links",)),
    Bad("file: a link to nowhere", linked("nowhere"), ("no such file",)),
    Bad("file: absent", lambda site: site.folder / "x", ("no such file",)),
    Bad("file: empty", file(b""), ("empty",)),
    Bad("file: 64 MiB of zeros", sparse_file, ("zero bytes",)),
    Bad("file: a web page", file(b"<html><body>404</body></html>"), ("a web page",)),
    Bad("file: a Git LFS pointer", file(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        ("Git LFS",)),
    Bad("file: a JSON text", file(b'{"a": 1}'), ("a JSON text",)),
    Bad("file: a text", file(b"hello there, this is a text\n"), ("a text that begins",)),
    Bad("file: gzip", file(gzip.compress(saved({"w": torch.ones(2)}))), ("gzip",)),
    Bad("file: noise", file(bytes(range(255, 0, -1)) * 20), ("unknown format",)),
    Bad("file: one byte", file(b"\x80"), ("x",)),
    Bad("file: a zip of checkpoints", file(zipped({"a/model.pth": b"x"})), ("with checkpoints inside",)),
    Bad("file: another tar", empty_tar, ("a tar archive",)),
    Bad("folder: empty", lambda site: site.folder, ("folder without weights",)),
    Bad("folder: two checkpoints", two, ("2 checkpoints", "a.safetensors", "b.safetensors")),
    Bad("folder: a device for its weights", hidden_device, ("model.safetensors", "link")),
    Bad("folder: a pipe for its weights", hidden_fifo, ("model.safetensors", "a pipe")),
]  # fmt: skip
