"""What a user reads when two lists can't be paired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from torchgraft.errors import AmbiguousMatchError, MatchError
from torchgraft.tensors import Named

__all__ = ["ambiguous", "nothing_matches", "rename_hint"]


def nothing_matches(
    sources: Sequence[Named], targets: Sequence[Named], mode: str, notes: Sequence[str] = ()
) -> MatchError:
    """The error for two lists that no hypothesis explains; `notes` are on the user's own rules."""
    error = _nothing_matches(sources, targets, mode)
    return MatchError(error.what, hint="; ".join([*notes, error.hint])) if notes and error.hint else error


def _nothing_matches(sources: Sequence[Named], targets: Sequence[Named], mode: str) -> MatchError:
    if not sources or not targets:
        side = "checkpoint" if not sources else "model"
        return MatchError(
            f"the {side} holds no tensors", hint="nothing to match: check which part was opened"
        )
    shapes = Counter(source.shape for source in sources) & Counter(target.shape for target in targets)
    what = (
        f"checkpoint and model do not fit together: {_looks('checkpoint', sources)}; "
        f"{_looks('model', targets)}; "
        f"{shapes.total()} shapes occur in both"
    )
    if mode == "exact":
        return MatchError(
            f"no name occurs in both: {what}", hint='match="auto" also tries prefixes and structure'
        )
    if 2 * shapes.total() >= min(len(sources), len(targets)):
        hint = 'rename={"name in the checkpoint": "name in the model"} for parts that belong together'
    else:
        hint = "they look like different architectures: open another checkpoint, or build the model it is for"
    return MatchError(what, hint=hint)


def ambiguous(
    one: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]], count: int, hint: str
) -> AmbiguousMatchError:
    """The error for two pairings, given by an example of each (source, target), that fit equally well.

    Args:
        one: Pairs of the first pairing.
        other: Pairs of the second.
        count: How many tensors hang on it.
        hint: What settles it.
    """

    def spelled(pairs: Sequence[tuple[str, str]]) -> str:
        return ", ".join(f"{source} → {target}" for source, target in pairs)

    tensors = f"{count} tensors hang" if count != 1 else "1 tensor hangs"
    return AmbiguousMatchError(
        f"two pairings fit equally well: {spelled(one)}; or {spelled(other)} ({tensors} on it)", hint=hint
    )


def rename_hint(rules: Mapping[str, str]) -> str:
    """The argument, and the command line's options, that apply these rules."""
    argument = ", ".join(f'"{old}": "{new}"' for old, new in rules.items())
    options = " ".join(f"--rename {old}={new}" for old, new in rules.items())
    return f"rename={{{argument}}} ({options})"


def _looks(side: str, tensors: Sequence[Named]) -> str:
    first = ", ".join(f"{t.name} {list(t.shape)}" for t in tensors[:3])
    return f"the {side} has {len(tensors)} tensors ({first}{', …' if len(tensors) > 3 else ''})"
