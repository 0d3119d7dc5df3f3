"""Every error torchgraft raises on purpose, in one tree.

TorchgraftError
├── CheckpointError            the file can't be used as a checkpoint
│   ├── UnknownFormatError       no container recognises it
│   ├── CorruptCheckpointError   truncated, or its parts contradict each other
│   ├── UnsafeCheckpointError    it tries to run code, reach outside itself or exhaust the machine
│   └── NoWeightsError           it opens, but holds no weights, or several sets that fit equally
├── MatchError                 names and shapes can't be paired
│   └── AmbiguousMatchError      two pairings fit equally well
├── CoverageError              a graft would leave undeclared parts of the model untrained
├── AdaptError                 no rule turns this tensor into that shape
├── AnatomyError               the model's stem or head can't be told
├── ModelError                 the model can't be built
│   └── UnknownModelError        no such name; the nearest are listed
├── FetchError                 a download failed or brought the wrong bytes
├── DataError                  images, labels or inputs can't be used
├── TrainingError              training can't go on
├── SaveError                  nothing was written; what was there before still is
├── VerificationError          outputs or statistics are not what they should be; an AssertionError too
└── MissingDependencyError     an optional package is absent
"""

from __future__ import annotations

__all__ = [
    "AdaptError",
    "AmbiguousMatchError",
    "AnatomyError",
    "CheckpointError",
    "CorruptCheckpointError",
    "CoverageError",
    "DataError",
    "FetchError",
    "MatchError",
    "MissingDependencyError",
    "ModelError",
    "NoWeightsError",
    "SaveError",
    "TorchgraftError",
    "TrainingError",
    "UnknownFormatError",
    "UnknownModelError",
    "UnsafeCheckpointError",
    "VerificationError",
]


class TorchgraftError(Exception):
    """What went wrong, where, and what to do next.

    Args:
        what: One sentence, no full stop needed.
        where: The file, entry, tensor or module it concerns, if there is one.
        hint: The next step, as a command or an argument the user can copy. Some kinds of error have one that
            always holds, for where nothing better is known.
    """

    usual_hint: str | None = None
    """The next step where nothing better is known."""

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what = what
        self.where = where
        self.hint = hint or self.usual_hint
        super().__init__(what)  # the rest is in __dict__, which goes along when it is pickled

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{text}\n  → {self.hint}" if self.hint else text
        # Names in files, and of files, may hold halves of characters, which can't be printed.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


class CheckpointError(TorchgraftError):
    """The file can't be used as a checkpoint."""


class UnknownFormatError(CheckpointError):
    """No container recognises the file."""

    usual_hint = "look at what it holds, and save its weights with torch.save or safetensors"


class CorruptCheckpointError(CheckpointError):
    """The file is truncated, or its parts contradict each other."""

    usual_hint = "download or save it again"


class UnsafeCheckpointError(CheckpointError):
    """The file tries to run code, to reach outside itself or to exhaust the machine."""

    usual_hint = "no honest program writes such a file: get the weights from a source you trust"


class NoWeightsError(CheckpointError):
    """The file opens, but holds no weights, or several sets that fit equally."""

    usual_hint = "open the file that the weights were saved to"


class MatchError(TorchgraftError):
    """Names and shapes of checkpoint and model can't be paired."""


class AmbiguousMatchError(MatchError):
    """Two pairings fit equally well; the message names both and what settles it."""


class CoverageError(TorchgraftError):
    """A graft would leave parts of the model untrained that nobody declared as new."""


class AdaptError(TorchgraftError):
    """No rule turns this tensor into that shape."""


class AnatomyError(TorchgraftError):
    """The model's stem or head can't be told."""


class ModelError(TorchgraftError):
    """The model can't be built."""


class UnknownModelError(ModelError):
    """There is no model of that name."""


class FetchError(TorchgraftError):
    """A download failed or brought the wrong bytes."""


class DataError(TorchgraftError):
    """Images, labels or inputs can't be used."""


class TrainingError(TorchgraftError):
    """Training can't start or can't go on."""


class SaveError(TorchgraftError):
    """Saving failed: nothing was written, and what was there before still is."""


class VerificationError(TorchgraftError, AssertionError):
    """A model's outputs or statistics are not what they should be; raised by `.check()` alone."""


class MissingDependencyError(TorchgraftError):
    """An optional package is absent; the hint is the pip command that brings it."""
