"""What a run leaves on disk: `config.json`, `history.json`, `metrics.json` and the best model in `model/`."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from torchgraft import __version__
from torchgraft.errors import SaveError
from torchgraft.finetuning.metrics import Evaluation
from torchgraft.finetuning.result import Epoch
from torchgraft.storage.atomic import write_text_atomic

if TYPE_CHECKING:
    from torch import nn

__all__ = ["RunFolder", "Status"]

Status: TypeAlias = Literal["running", "finished", "interrupted", "failed"]

_MARK = "torchgraft_run"
_FILES = ("config.json", "history.json", "metrics.json")
_PACKAGES = ("torch", "torchvision", "accelerate", "scikit-learn", "numpy", "pillow", "safetensors", "timm")


class RunFolder:
    """A run's folder, complete after every epoch: each file is replaced as a whole.

    Args:
        path: Made by `start` if it is absent.
        overwrite: Whether an earlier run's files in it may go.

    Raises:
        SaveError: It holds something else, or an earlier run that may not go, or can't be read.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.path = path
        self._config: dict[str, Any] = {}
        self._history: list[Epoch] = []
        try:
            if path.exists() and any(path.iterdir()):
                self._refuse_unless_ours(overwrite)
        except OSError as error:
            raise _unusable(path, error) from error

    @property
    def started(self) -> bool:
        """Whether there is anything in it yet."""
        return bool(self._config)

    def start(self, config: dict[str, Any]) -> None:
        """Make the folder and write what the run is going to do.

        Raises:
            SaveError: It can't be made or written to.
        """
        versions = {"torchgraft": __version__}
        for package in _PACKAGES:
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                continue
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._clear()
        except OSError as error:
            raise _unusable(self.path, error) from error
        self._config = {_MARK: 1, "status": "running", **config, "versions": versions}
        self._write("config.json", self._config)
        self._write("history.json", [])

    def add_epoch(self, epoch: Epoch) -> None:
        """Write the history with one more epoch."""
        self._history.append(epoch)
        self._write("history.json", [entry.to_json() for entry in self._history])

    def keep(self, model: nn.Module, epoch: int, evaluation: Evaluation) -> None:
        """Save the best model so far and how well it does.

        The model's own notes say so too, so that model and metrics change together; `metrics.json` is a
        copy, and is absent rather than one of another model.
        """
        from torchgraft.saving import save

        metrics = {"epoch": epoch, **evaluation.to_json()}
        try:
            (self.path / "metrics.json").unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(self.path, error) from error
        save(model, self.path / "model", notes=metrics)
        self._write("metrics.json", metrics)

    def end(self, status: Status, **more: Any) -> None:
        """Say how the run ended."""
        self._config = {**self._config, "status": status, **more}
        self._write("config.json", self._config)

    def _write(self, name: str, data: object) -> None:
        write_text_atomic(
            self.path / name, json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n"
        )

    def _refuse_unless_ours(self, overwrite: bool) -> None:
        try:
            config = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
            ours = isinstance(config, dict) and _MARK in config
        except (OSError, ValueError):
            ours = False
        if not ours:
            raise SaveError(
                "the folder is not empty", where=str(self.path), hint="choose a new folder for out="
            )
        if not overwrite:
            raise SaveError(
                "the folder holds an earlier run",
                where=str(self.path),
                hint="pass overwrite=True to replace it, or choose another folder",
            )

    def _clear(self) -> None:
        """Remove what an earlier run wrote, and nothing else; not before the new one has its data."""
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)
        if (self.path / "model").is_dir():
            shutil.rmtree(self.path / "model")


def _unusable(path: Path, error: OSError) -> SaveError:
    return SaveError(f"can't be used as a run folder: {error}", where=str(path))
