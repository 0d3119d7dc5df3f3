"""How far a run is, phase by phase, and what another process needs to go on from there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from torchgraft.finetuning.resuming.checkpoint_files import (
    Checkpoint,
    Tensors,
    drop,
    read_checkpoint,
    saved_checkpoints,
    tidy,
    write_checkpoint,
)

if TYPE_CHECKING:
    from torchgraft.finetuning.best import Best
    from torchgraft.finetuning.engine import Engine
    from torchgraft.finetuning.runs.run_folder import RunFolder

__all__ = ["Progress"]

_KEPT = 2
_MOST_SECONDS = 600.0
_SHARE = 20.0


@dataclass(slots=True, eq=False)
class Progress:
    """Counts the phases of a recipe, writes checkpoints and gives back those of an interrupted run.

    A recipe trains in one phase or several, always in the same order. Each calls `recall` first; where that
    says no, it trains, from `saved` if there is something, and calls `keep`.

    Attributes:
        folder: Where checkpoints are; `None`: nowhere, and then nothing is saved or recalled.
        engine: Only its first process reads and writes.
        every: Steps from one checkpoint to the next; `None`: at the end of an epoch and every ten minutes,
            unless writing takes more than a twentieth of the time.
        resume: Whether to look for checkpoints of an earlier process.
        seed: Random numbers after a phase depend on it, whether the phase was trained or recalled.
        run: The folder whose history and log go on too; in the first process.
        phase: The one that goes on, from 1; 0 before the first.
        steps_before: Steps of the optimizer in the phases before.
        noted: What a recipe noted of the phase that was recalled.
    """

    folder: Path | None = None
    engine: Engine | None = None
    every: int | None = None
    resume: bool = False
    seed: int = 0
    run: RunFolder | None = None
    phase: int = 0
    steps_before: int = 0
    noted: Mapping[str, Any] = field(default_factory=dict)
    _done: list[Checkpoint] = field(default_factory=list)
    _saved: Checkpoint | None = None
    _written: float = field(default_factory=time.monotonic)
    _took: float = 0.0

    def find(self) -> bool:
        """Look for checkpoints of an earlier process; whether there are any that are whole."""
        self._done, self._saved = self._found()
        latest = self._saved or (self._done[-1] if self._done else None)
        if self._main and self.folder is not None:
            tidy(self.folder, used=self._saved.path if self._saved is not None else None)
        if latest is not None and self.run is not None:
            self.run.restore(latest.state["record"])
        return latest is not None

    def recall(self, best: Best) -> bool:
        """Begin the next phase; whether it was finished before. Then `best` has what came of it."""
        self.phase += 1
        if self.phase > len(self._done):
            return False
        found = self._done[self.phase - 1]
        self.steps_before = int(found.state["steps"])
        tensors = found.tensors["best"]
        best.load(found.state["best"], tensors if self.engine is None else self.engine.from_first(tensors))
        self.noted = found.state["noted"]
        self._reseed()
        return True

    def saved(self) -> Checkpoint | None:
        """What this phase goes on from; `None`: from its beginning."""
        found = self._saved
        return found if found is not None and found.state["phase"] == self.phase else None

    def due(self, step: int, *, epoch_over: bool) -> bool:
        """Whether it is time for a checkpoint after `step`; all processes ask, the first one decides."""
        if self.folder is None:
            return False
        if self.every is not None:
            return step % self.every == 0
        passed = time.monotonic() - self._written
        late = passed > _MOST_SECONDS or epoch_over
        mine = late and passed >= _SHARE * self._took
        if self.engine is None or self.engine.processes == 1:
            return mine
        return self.engine.any(mine and self.engine.main)

    def save(self, step: int, state: Mapping[str, Any], best: Best, tensors: Tensors) -> None:
        """Write a checkpoint after so many steps of this phase; the last two are kept."""
        if self.folder is None:
            return
        began = time.monotonic()
        number = self.steps_before + step
        plain, weights = self._whole(best)
        if self._main:
            folder = self.folder / f"step-{number:08d}"
            content = {**state, "phase": self.phase, "steps": number, "best": plain, "record": self._record()}
            write_checkpoint(folder, content, {**tensors, "best": weights})
            drop(*saved_checkpoints(self.folder, "step")[_KEPT:])
        self._written = time.monotonic()
        self._took = self._written - began

    def keep(
        self,
        best: Best,
        *,
        step: int = 0,
        last: Mapping[str, torch.Tensor] | None = None,
        noted: Mapping[str, Any] | None = None,
    ) -> None:
        """The phase is finished: write what came of it.

        Args:
            best: With its weights, history and outcomes.
            step: How many steps of the optimizer it took.
            last: The weights at its end, where those are others.
            noted: Plain data that the recipe wants to have again.
        """
        self.steps_before += step
        self._reseed()
        if self.folder is None:
            return
        plain, weights = self._whole(best)
        if not self._main:
            return
        content = {
            "phase": self.phase,
            "steps": self.steps_before,
            "best": plain,
            "record": self._record(),
            "noted": dict(noted or {}),
        }
        tensors = {"best": weights, **({"last": last} if last is not None else {})}
        write_checkpoint(self.folder / f"phase-{self.phase}", content, tensors)
        drop(*saved_checkpoints(self.folder, "step"))

    @property
    def _main(self) -> bool:
        return self.engine is None or self.engine.main

    def _whole(self, best: Best) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What there is to keep of it; all processes come here."""
        plain, weights = best.state()
        return plain, weights if self.engine is None else self.engine.whole(weights)

    def _found(self) -> tuple[list[Checkpoint], Checkpoint | None]:
        """What the first process reads; the others get no tensors, which the engine spreads where needed."""
        if self.engine is None or self.engine.processes == 1:
            return self._read()
        read: list[Checkpoint] = []

        def states() -> tuple[int, list[tuple[Any, list[str]]]]:
            done, saved = self._read()
            read.extend([*done, *([saved] if saved is not None else [])])
            return len(done), [(one.state, list(one.tensors)) for one in read]

        finished, told = self.engine.first(states)
        if not self._main:
            read = [Checkpoint(self.folder or Path(), state, {n: {} for n in names}) for state, names in told]
        return read[:finished], read[finished] if len(read) > finished else None

    def _read(self) -> tuple[list[Checkpoint], Checkpoint | None]:
        """Finished phases without a gap, and the newest checkpoint of the one after them."""
        if self.folder is None:
            return [], None
        done: list[Checkpoint] = []
        while (path := self.folder / f"phase-{len(done) + 1}").is_dir():
            found = read_checkpoint(path)
            if found is None:
                break
            done.append(found)
        for path in saved_checkpoints(self.folder, "step"):
            found = read_checkpoint(path)
            if found is not None and found.state["phase"] == len(done) + 1:
                return done, found
        return done, None

    def _record(self) -> dict[str, Any]:
        return self.run.record() if self.run is not None else {}

    def _reseed(self) -> None:
        if self.engine is not None:
            self.engine.reseed(self.seed, -self.phase)
