"""What is installed here and what it can do: asked of the packages themselves, nothing is assumed."""

from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

__all__ = ["Installation", "Part", "installation"]

_EXTRA = re.compile(r"extra == ['\"]([\w-]+)['\"]")
_FOR_US = frozenset({"bench", "demo", "dev", "docs"})
"""Extras for people who work on torchgraft."""

_HEEDED = ("HF_HUB_OFFLINE", "HF_ENDPOINT", "HTTPS_PROXY", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True, slots=True)
class Part:
    """A package that torchgraft uses.

    Attributes:
        name: As pip knows it.
        wanted: The versions that will do, such as `>=1.0`.
        found: The one that is here; `None`: none.
        extra: The extra that brings it; `None`: it always comes.
        fits: Whether the version that is here will do.
    """

    name: str
    wanted: str
    found: str | None
    extra: str | None
    fits: bool


@dataclass(frozen=True, slots=True)
class Installation:
    """All of it: facts by name, parts, the settings that are heeded, and what is wrong."""

    torchgraft: str
    machine: dict[str, str]
    torch: dict[str, str]
    parts: tuple[Part, ...]
    cache: dict[str, str | int]
    settings: dict[str, str]
    problems: tuple[str, ...]


def installation() -> Installation:
    """Look around; imports PyTorch, and nothing else that is optional."""
    from torchgraft import __version__

    parts = tuple(_parts())
    torch, cache = _torch(), _cache()
    return Installation(
        torchgraft=__version__,
        machine={
            "Python": f"{platform.python_version()} ({platform.python_implementation()})",
            "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
            "processors": str(_processors()),
        },
        torch=torch,
        parts=parts,
        cache=cache,
        settings={
            name: os.environ[name]
            for name in sorted(os.environ)
            if name in _HEEDED or name.startswith("TORCHGRAFT_")
        },
        problems=tuple(_problems(parts, torch, cache)),
    )


def _parts() -> list[Part]:
    from packaging.requirements import Requirement

    found: dict[tuple[str, str | None], Part] = {}
    for line in requires("torchgraft") or []:
        needed = Requirement(line)
        extra = _EXTRA.search(line)
        of = extra[1] if extra else None
        if of in _FOR_US or needed.extras or needed.name == "torchgraft":
            continue
        try:
            here: str | None = version(needed.name)
        except PackageNotFoundError:
            here = None
        fits = here is not None and needed.specifier.contains(here, prereleases=True)
        found.setdefault((needed.name, of), Part(needed.name, str(needed.specifier), here, of, fits))
    return list(found.values())


def _torch() -> dict[str, str]:
    try:
        import torch
    except Exception as error:  # a broken build raises anything; the doctor is asked because of such
        return {"error": f"{type(error).__name__}: {error}"}
    facts = {"version": torch.__version__, "threads": str(torch.get_num_threads())}
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            facts[f"cuda:{index}"] = f"{card.name}, {card.total_memory / 2**30:.0f} GiB"
    elif torch.version.cuda:
        facts["cuda"] = f"built for CUDA {torch.version.cuda}, but no card is usable here"
    if torch.backends.mps.is_available():
        facts["mps"] = "usable"
    return facts


def _cache() -> dict[str, str | int]:
    from torchgraft.storage.cache import cached_files
    from torchgraft.storage.cache_place import cache_folder

    folder = cache_folder()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    files = [file for file in cached_files() if file.ours]
    return {
        "folder": str(folder),
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "free": shutil.disk_usage(nearest).free,
        "writable": str(os.access(nearest, os.W_OK)).lower(),
    }


def _problems(parts: tuple[Part, ...], torch: dict[str, str], cache: dict[str, str | int]) -> list[str]:
    found = [
        f"{part.name} {part.found or 'is absent'}: torchgraft needs {part.name}{part.wanted}"
        for part in parts
        if not part.fits and (part.extra is None or part.found is not None)
    ]
    if "error" in torch:
        found.append(f"PyTorch can't be imported: {torch['error']}")
    if cache["writable"] == "false":
        found.append(f"the cache's folder {cache['folder']} can't be written to: set TORCHGRAFT_CACHE")
    return found


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
