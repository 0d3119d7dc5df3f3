"""`open`: a file becomes a checkpoint."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from torchgraft.checkpoint.checkpoint import Checkpoint
from torchgraft.formats import read_container, read_opened
from torchgraft.storage.addresses import is_address, without_secrets

__all__ = ["open"]


def open(  # noqa: A001 (tg.open is the public name)
    path: str | os.PathLike[str], *, select: str | None = None, verify: bool = False
) -> Checkpoint:
    """Open a checkpoint: lazily, without PyTorch, and without running anything that is in it.

    What is at an address is read where it is: headers now, and later the bytes that are asked for; nothing
    is kept on this machine. A web server that can't send parts of files makes an exception: the file is
    downloaded to the cache. To keep a copy in any case, download the file first.

    Args:
        path: A file or folder; its content decides how it is read, not its name. Or an address: `https://…`
            and `http://…` (`user:password@` in it is for that host alone) of a file or of the index of
            shards beside it; `s3://…`, `gs://…`, `hf://organisation/repository` and others through fsspec,
            of a file or a folder.
        select: The part that is the weights, by its path in the file or the end of it, such as
            `"state_dict_ema"`, or a word that only one set of weights has in its name, such as `"ema"`;
            `"."` takes every set of tensors together. In a folder with several checkpoints their files' names
            come first, such as `"model_1.safetensors"`. By default it is found by content: the named
            floating-point tensors, neither an optimizer's state nor a copy.
        verify: Hold what is read against the checksums that the file keeps. Those are of whole entries of a
            zip archive (`.pth`, `.npz`, `.keras`, torch.distributed's), so the first slice of a tensor reads
            all of its entry; and of what describes the arrays of newer HDF5 files. safetensors, GGUF, ONNX,
            `.npy` and the older `.pth` keep none; their sizes are checked in any case, and so is what
            describes the tensors.

    Raises:
        CheckpointError: It can't be read, is not to be trusted, or its weights can't be told.
        FetchError: What is at the address can't be had, or changes while it is read.
        MissingDependencyError: The package for this kind of address is not installed.
    """
    with _uncollected():
        if isinstance(path, str) and is_address(path):
            return _open_remote(path, select, verify)
        container = read_container(path, verify=verify, together=select is not None)
        return Checkpoint.from_container(container, select)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection meanwhile: of a file with 100,000 tensors it would see all objects many times."""
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if wanted:
            gc.enable()


def _open_remote(address: str, select: str | None, verify: bool) -> Checkpoint:
    from torchgraft.storage.remote import open_address

    opened = open_address(address, verify=verify)
    container = read_opened(opened, together=select is not None)
    if opened.file is not None and opened.file.path is not None:
        # it is in the cache, but the user knows it by its address
        container = replace(container, name=without_secrets(address))
    return Checkpoint.from_container(container, select)
