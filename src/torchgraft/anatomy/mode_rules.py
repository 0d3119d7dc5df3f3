"""What the user says of how: a mode for an op wherever it is used, or for the tensors of a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from torchgraft.adapting import ANY_OP, InMode, InputChannels, modes_of_ops
from torchgraft.anatomy.patterns import matches
from torchgraft.errors import AdaptError

__all__ = ["ModeRules", "plain"]


@dataclass(frozen=True, slots=True)
class ModeRules:
    """The argument `modes`, read.

    Attributes:
        by_op: Modes by the op's name.
        by_name: Modes by a tensor's name, a module's path or a pattern; these count first.
    """

    by_op: Mapping[str, object]
    by_name: Mapping[str, object]

    @classmethod
    def parse(
        cls, modes: Mapping[str, object] | None, in_mode: InMode | None, names: Mapping[str, object]
    ) -> ModeRules:
        """Read `{"rows": "mean", "conv1.weight": "zeros"}`.

        Args:
            modes: As the user gives them.
            in_mode: The mode of `InputChannels`, which has an argument of its own.
            names: The model's tensors, by name.

        Raises:
            AdaptError: A word is neither an op that has modes nor fits a tensor of the model.
        """
        known = modes_of_ops()
        by_op: dict[str, object] = {} if in_mode is None else {InputChannels.name: in_mode}
        by_name: dict[str, object] = {}
        for word, mode in (modes or {}).items():
            if word in known:
                by_op[word] = mode
            elif any(matches(name, word) for name in names):
                by_name[word] = mode
            else:
                near = get_close_matches(word, [*known, *names], n=3, cutoff=0.5)
                raise AdaptError(
                    f"modes names {word!r}, which is neither a kind of step nor a tensor of the model",
                    hint=f"near it: {', '.join(near)}" if near else f"kinds of steps: {', '.join(known)}",
                )
        return cls(by_op, by_name)

    def of(self, name: str) -> dict[str, object]:
        """The modes for the tensor of this name, as `Change` takes them."""
        particular = [mode for word, mode in self.by_name.items() if matches(name, word)]
        return {**self.by_op, **({ANY_OP: particular[-1]} if particular else {})}


def plain(mode: object) -> object:
    """A mode, or modes by name, as JSON holds them: lists and dictionaries."""
    if isinstance(mode, Mapping):
        return {str(key): plain(value) for key, value in mode.items()}
    if isinstance(mode, Sequence) and not isinstance(mode, str):
        return [plain(value) for value in mode]
    return mode
