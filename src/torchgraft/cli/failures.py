"""From an exception to what the user is told, and to the exit code."""

from __future__ import annotations

import re
from dataclasses import dataclass

import click

from torchgraft import errors

__all__ = ["EXIT_CODES", "Failure", "describe"]

EXIT_CODES = {
    0: "all went well",
    1: "something failed that was not foreseen, or doctor found something wrong",
    2: "the command line is wrong",
    3: "the checkpoint can't be read, or not safely",
    4: "names don't match, or match in two ways",
    5: "the gate refused: parts would stay untrained that nobody declared as new",
    6: "the model can't be built or adapted",
    7: "images, labels or training went wrong",
    8: "saving or downloading failed",
    9: "an optional package is missing",
    10: "the checkpoints differ (diff)",
    11: "the model doesn't give what it should, or that can't be told (check)",
    130: "interrupted",
}
"""What each exit code means."""

_CODE_OF: tuple[tuple[type[errors.TorchgraftError], int], ...] = (
    (errors.CheckpointError, 3),
    (errors.MatchError, 4),
    (errors.CoverageError, 5),
    (errors.ModelError, 6),
    (errors.AdaptError, 6),
    (errors.AnatomyError, 6),
    (errors.DataError, 7),
    (errors.TrainingError, 7),
    (errors.SaveError, 8),
    (errors.FetchError, 8),
    (errors.MissingDependencyError, 9),
    (errors.VerificationError, 11),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, where, what to do next, and the exit code that says so."""

    code: int
    type: str
    message: str
    where: str | None = None
    hint: str | None = None

    def to_json(self) -> dict[str, object]:
        """What `--json` prints."""
        return {
            "error": {"type": self.type, "message": self.message, "where": self.where, "hint": self.hint},
            "exit_code": self.code,
        }


def describe(error: Exception) -> Failure:
    """Any exception as a failure."""
    kind = type(error).__name__
    if isinstance(error, errors.TorchgraftError):
        code = next((code for root, code in _CODE_OF if isinstance(error, root)), 1)
        hint = _as_options(error.hint) if error.hint else None
        return Failure(code, kind, error.what, error.where, hint)
    if isinstance(error, click.UsageError):
        context = error.ctx
        hint = f"{context.command_path} --help" if context else None
        return Failure(2, "UsageError", error.format_message(), hint=hint)
    if isinstance(error, click.ClickException):
        return Failure(2, "UsageError", error.format_message())
    return Failure(
        1, kind, str(error) or kind, hint="this was not foreseen: run it again with --debug and report it"
    )


_NAMES = (
    "allow_fresh|augment|batch_size|builder|class_map|format|head|in_channels|in_mode|inputs|labels|lr|match|"
    "num_classes|opset|precision|recipe|run|select|source_labels|source_tokens|stem|task|tokens|tolerance|val|"
    "weights"
)
_CALL = re.compile(r"\b(?:torchgraft|tg)\.\w+\(path, ([^()]*)\)")
_LIST = re.compile(rf"""\b({_NAMES})=\[((?:["'][^"']*["'](?:, )?)+)\]""")
_VALUE = re.compile(rf"""\b({_NAMES})=(?:(["'])([^"']*)\2|(\d+(?:\.\d+)?(?:e-?\d+)?|…))""")
_BARE = re.compile(rf"\b({_NAMES})=(?=[\s,;)]|$)")
_PYTHON = re.compile(r"(\b[\w.]+\([^()]*\))")
_RENAME = re.compile(r"""\brename=\{["']([^"']*)["']: ["']([^"']*)["']\}""")
_MODES = re.compile(r"""\bmodes=\{["']([^"']*)["']: ["']([^"']*)["']\}""")
_FLAGS = {
    "freeze_bn=True": "--freeze-bn",
    "overwrite=True": "--overwrite",
    "resume=True": "--resume",
    'unreadable="skip"': "--skip-unreadable",
}


def _as_options(hint: str) -> str:
    """A hint that names Python arguments, in the command line's words."""
    parts = _PYTHON.split(_CALL.sub(r"\1", hint))
    return "".join(part if _PYTHON.fullmatch(part) else _in_options(part) for part in parts)


def _in_options(hint: str) -> str:
    hint = _LIST.sub(lambda found: " ".join(_option(found[1], value) for value in _quoted(found[2])), hint)
    hint = _VALUE.sub(lambda found: _option(found[1], found[3] if found[2] else found[4]), hint)
    hint = _RENAME.sub(lambda found: f"--rename '{found[1]}={found[2]}'", hint)
    hint = _MODES.sub(lambda found: f"--mode {found[1]}={found[2]}", hint)
    hint = _BARE.sub(lambda found: f"--{found[1].replace('_', '-')}", hint)
    for argument, flag in _FLAGS.items():
        hint = hint.replace(argument, flag)
    return hint


def _option(name: str, value: str) -> str:
    quoted = value if re.fullmatch(r"[\w./:…-]+", value) else f"'{value}'"
    return f"--{name.replace('_', '-')} {quoted}"


def _quoted(text: str) -> list[str]:
    return re.findall(r"""["']([^"']*)["']""", text)
