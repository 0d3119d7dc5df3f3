"""What a run leaves on disk: `config.json`, `history.jsonl`, `steps.jsonl`, `metrics.json`, the best model in
`model/`, and in `checkpoints/` what it takes to go on.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from torchgraft import __version__
from torchgraft.errors import SaveError
from torchgraft.finetuning.evaluations.evaluation import AnyEvaluation
from torchgraft.finetuning.events import Step
from torchgraft.finetuning.result import Epoch
from torchgraft.finetuning.runs.recorded_run import RUN_MARK
from torchgraft.finetuning.runs.step_log import StepLog
from torchgraft.storage.atomic import write_text_atomic
from torchgraft.storage.temporaries import sweep

if TYPE_CHECKING:
    from torch import nn

    from torchgraft.finetuning.images.image_set import Images
    from torchgraft.model_info import Preprocessing

__all__ = ["RunFolder", "Status"]

Status: TypeAlias = Literal["running", "finished", "interrupted", "failed"]

_VERSION = 2
_FILES = ("history.json", "history.jsonl", "steps.jsonl", "metrics.json")
"""But for `config.json`, which is replaced: without it a folder would be taken for somebody else's."""

_FOLDERS = ("model", "checkpoints", "diverged", "mistakes", "trackers")
_PACKAGES = ("torch", "torchvision", "accelerate", "scikit-learn", "numpy", "pillow", "safetensors", "timm")


class RunFolder:
    """A run's folder, complete after every epoch: each file is replaced as a whole, or a line added to it.

    Args:
        path: Made by `start` if it is absent.
        overwrite: Whether an earlier run's files in it may go.
        resume: Whether an earlier run in it may go on.

    Attributes:
        path: Where it is.
        seconds_before: How long the run had taken before it was interrupted.

    Raises:
        SaveError: It holds something else, or an earlier run that may neither go nor go on, or can't be read.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.path = path
        self.seconds_before = 0.0
        self._config: dict[str, Any] = {}
        self._before: dict[str, Any] = {}
        self._rows: list[dict[str, Any]] = []
        self._last_step = 0
        self._steps = StepLog(path / "steps.jsonl")
        self._began = time.monotonic()
        sweep(path / "config.json")  # of a run that was killed before it had one
        try:
            if path.exists() and any(path.iterdir()):
                self._before = self._earlier(overwrite=overwrite, resume=resume)
        except OSError as error:
            raise _unusable(path, error) from error

    @property
    def earlier(self) -> Mapping[str, Any]:
        """The `config.json` of the run that is to go on; empty if there is none."""
        return self._before

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
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        begun = {RUN_MARK: _VERSION, "status": "running", "started": started}
        self._config = {**begun, **config, "versions": versions}
        self._write("config.json", self._config)
        self._rows, self._last_step = [], 0
        self._write_history()

    def go_on(self) -> None:
        """Take up the run that is there: what came after its last checkpoint is taken back."""
        ended = ("error", "settings", "notes", "seconds")
        kept = {key: value for key, value in self._before.items() if key not in ended}
        self._config = {**kept, "status": "running", "resumed": kept.get("resumed", 0) + 1}
        self._write("config.json", self._config)
        self._write_history()
        self._steps.cut(self._last_step)

    def note(self, **more: Any) -> None:
        """Write more into `config.json`."""
        self._config = {**self._config, **more}
        self._write("config.json", self._config)

    def add_step(self, step: Step) -> None:
        """Note a step."""
        self._last_step = step.step
        self._steps.add(step, self.seconds)

    def add_epoch(self, epoch: Epoch, epochs: int) -> None:
        """Add a line to the history; `epochs` is how many there will be at most."""
        self._steps.flush()
        self._rows.append({**epoch.to_json(), "epochs": epochs})
        try:
            with (self.path / "history.jsonl").open("a", encoding="utf-8") as file:
                file.write(_line(self._rows[-1]))
        except OSError as error:
            raise _unusable(self.path, error) from error

    @property
    def seconds(self) -> float:
        """How long the run has taken, the time before an interruption included."""
        return self.seconds_before + time.monotonic() - self._began

    def record(self) -> dict[str, Any]:
        """What a checkpoint has to remember of this folder, whose files say as much by now."""
        self._steps.flush()
        return {"history": self._rows, "last_step": self._last_step, "seconds": self.seconds}

    def restore(self, record: Mapping[str, Any]) -> None:
        """Be as when the checkpoint was written; `go_on` then makes the files so."""
        self._rows = list(record["history"])
        self._last_step = int(record["last_step"])
        self.seconds_before = float(record["seconds"])
        self._began = time.monotonic()

    def keep(self, model: nn.Module, epoch: int, evaluation: AnyEvaluation) -> None:
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

    def show_mistakes(
        self, model: nn.Module, images: Images, evaluation: AnyEvaluation, how: Preprocessing, epoch: int
    ) -> None:
        """Keep pictures of the images that the best model, of `epoch`, is most wrong about."""
        from torchgraft.finetuning.runs.mistake_pictures import write_mistakes

        with suppress(SaveError, OSError):  # pictures are no reason for a finished run to fail
            write_mistakes(self.path, model, images, evaluation, how, epoch=epoch)

    def end(self, status: Status, **more: Any) -> None:
        """Say how the run ended."""
        self._steps.flush()
        self.note(status=status, **more)

    def _write(self, name: str, data: object) -> None:
        write_text_atomic(
            self.path / name, json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n"
        )

    def _write_history(self) -> None:
        write_text_atomic(self.path / "history.jsonl", "".join(map(_line, self._rows)))

    def _earlier(self, *, overwrite: bool, resume: bool) -> dict[str, Any]:
        """The config of an earlier run that is to go on; nothing if it is to be replaced."""
        try:
            config = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
            ours = isinstance(config, dict) and RUN_MARK in config
        except (OSError, ValueError):
            ours = False
        if not ours:
            raise SaveError(
                "the folder is not empty", where=str(self.path), hint="choose a new folder for out="
            )
        if resume:
            return dict(config)
        if not overwrite:
            raise SaveError(
                "the folder holds an earlier run",
                where=str(self.path),
                hint="pass resume=True to go on with it, overwrite=True to replace it, or another folder",
            )
        return {}

    def _clear(self) -> None:
        """Remove what an earlier run wrote, and nothing else; not before the new one has its data."""
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)
        for name in _FOLDERS:
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / name)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, default=str) + "\n"


def _unusable(path: Path, error: OSError) -> SaveError:
    return SaveError(f"can't be used as a run folder: {error}", where=str(path))
