"""What a plan says of tables over tokens: that there are none, or that rows were paired by number alone."""

from __future__ import annotations

from collections.abc import Sequence

from torchgraft.adapting import RowMap, Vocabulary
from torchgraft.errors import AnatomyError
from torchgraft.planning.entries import TargetEntry
from torchgraft.planning.roles import Roles

__all__ = ["check_tables", "vocabulary_doubts"]


def check_tables(tokens: RowMap | None, roles: Roles) -> None:
    """Refuse tokens where nothing is known to be a table over them.

    Raises:
        AnatomyError: There is no such table.
    """
    if tokens is not None and not roles.tables:
        raise AnatomyError(
            "tokens are given, but no embedding that sees them was found",
            hint='name it: stem="path.of.the.embedding"',
        )


def vocabulary_doubts(entries: Sequence[TargetEntry]) -> tuple[str, ...]:
    """A line for the tables whose rows were paired by their numbers alone."""
    found = [
        (entry.name, op)
        for entry in entries
        for op in entry.ops
        if isinstance(op, Vocabulary) and op.by == "number" and op.mode != "prefix"
    ]
    if not found:
        return ()
    names = ", ".join(name for name, _ in found)
    return (
        f"the first {found[0][1].carried:,} rows of {names} are taken to be of the same tokens in both: "
        "source_tokens= and tokens= would tell",
    )
