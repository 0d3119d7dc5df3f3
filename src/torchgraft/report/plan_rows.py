"""A plan's entries as rows for people: siblings of the same fate on one line, problems first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchgraft.report.ranges import collapse, ranged, ranged_shapes, sibling_key, skeleton, split_leaf
from torchgraft.report.safe_text import clean
from torchgraft.report.statuses import Status, status_of

if TYPE_CHECKING:
    from torchgraft.planning import Plan, SourceEntry, TargetEntry

__all__ = ["Row", "done", "evidence", "source_rows", "target_rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a tensor, or several numbered siblings that meet the same fate.

    Attributes:
        status: Their fate.
        name: Their name, with ranges such as `{0...15}` and leaves such as `{weight,bias}`.
        shape: Their shape or the range of their shapes.
        source: Where they come from; empty for fresh and unused ones.
        done: What is done on the way; empty when nothing is.
        why: The evidence or the reason.
        tensors: How many there are.
    """

    status: Status
    name: str
    shape: str
    source: str
    done: str
    why: str
    tensors: int


def target_rows(plan: Plan, *, all: bool = False) -> list[Row]:  # noqa: A002 (the public word for it)
    """The model's tensors: undeclared fresh ones first, then in the model's order."""
    entries = sorted(plan.targets, key=lambda entry: status_of(entry).key != "undeclared")
    return _rows(entries, all)


def source_rows(plan: Plan, *, all: bool = False) -> list[Row]:  # noqa: A002
    """The checkpoint's unused tensors, in its order."""
    return _rows([entry for entry in plan.sources if entry.status == "unused"], all)


def done(entry: TargetEntry | SourceEntry) -> str:
    """What is done to a tensor on the way, in words; empty when it is taken as it is."""
    joined = getattr(entry, "joined", ())
    if joined:
        return f"{len(joined)} parts joined"
    return ", then ".join(op.describe() for op in getattr(entry, "ops", ()))


def _rows(entries: Sequence[TargetEntry | SourceEntry], separate: bool) -> list[Row]:
    if separate:
        return [_row([entry]) for entry in entries]
    siblings = collapse(
        entries,
        lambda entry: (
            status_of(entry).key,
            sibling_key(entry.name),
            len(entry.shape),
            skeleton(_source(entry)),
            skeleton(done(entry)),
            skeleton(entry.why),
        ),
    )
    return [_row(_flat(leaves)) for leaves in collapse(siblings, _module_key)]


def _module_key(group: Sequence[TargetEntry | SourceEntry]) -> tuple[object, ...]:
    """Groups that are the leaves of the same modules, such as a weight and its bias, share one line."""
    first = group[0]
    return (
        status_of(first).key,
        tuple(split_leaf(entry.name)[0] for entry in group),
        tuple(split_leaf(_source(entry))[0] for entry in group),
        skeleton(done(first)),
        skeleton(first.why),
    )


def _row(group: Sequence[TargetEntry | SourceEntry]) -> Row:
    names = [entry.name for entry in group]
    return Row(
        status=status_of(group[0]),
        name=_joined(names),
        shape=ranged_shapes([entry.shape for entry in group]),
        source=_joined([source for entry in group if (source := _source(entry))], like=names),
        done=clean(ranged([done(entry) for entry in group])),
        why=clean(ranged([evidence(entry) for entry in group])),
        tensors=len(group),
    )


def evidence(entry: TargetEntry | SourceEntry) -> str:
    """The reason, less what is done, which has a place of its own; and what a mode means for the outputs."""
    reason = entry.why.removeprefix(done(entry)).removeprefix("; ")
    return "; ".join(filter(None, (reason, getattr(entry, "effect", ""))))


def _joined(names: Sequence[str], *, like: Sequence[str] = ()) -> str:
    """One name for all; `*` for the leaves where they are the same as those of `like`."""
    if not names:
        return ""
    modules, leaves = _parts(names)
    if len(leaves) == 1:
        leaf = leaves[0]
    elif like and leaves == _parts(like)[1] and modules != _parts(like)[0]:
        leaf = "*"
    else:
        leaf = "{" + ", ".join(leaves) + "}"
    return clean(ranged(modules) + leaf)


def _parts(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The modules and the leaves that occur in some names."""
    modules, leaves = zip(*map(split_leaf, names), strict=True)
    return list(dict.fromkeys(modules)), list(dict.fromkeys(leaves))


def _flat(groups: Iterable[Sequence[TargetEntry | SourceEntry]]) -> list[TargetEntry | SourceEntry]:
    return [entry for group in groups for entry in group]


def _source(entry: TargetEntry | SourceEntry) -> str:
    return getattr(entry, "source", None) or ""
