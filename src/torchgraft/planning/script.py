"""A plan as a short Python module that needs only PyTorch: what it does to names and tensors, spelled out."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from torchgraft.planning.plans import Plan
from torchgraft.planning.script_lines import lines_of
from torchgraft.planning.script_loops import loops
from torchgraft.planning.script_moves import Move, moves_of

__all__ = ["script"]

_LEAST = 4
_SHARE = 0.2
"""Tensors that a rule for a prefix must be good for: a number, and a share of those that are left."""

_MOST_SKIPPED = 8
"""Names that a rule may have to leave out."""

_WIDTH = 100


def script(plan: Plan) -> str:
    """The text of the module; see `Plan.python`."""
    moves, left = moves_of(plan)
    names = [entry.name for entry in plan.sources]
    body: list[str] = []
    for old, new, taken in _prefix_rules(moves, names):
        body += _rule(old, new, [n for n in names if n.startswith(old) and n not in taken])
        moves = [m for m in moves if not (m.plain and taken.get(m.sources[0]) == m.target)]
    body += loops(lines_of(moves))
    fresh = [entry.name for entry in plan.targets if entry.status == "fresh"]
    remarks = []
    if fresh:
        remarks.append(("Not in the checkpoint", fresh))
    if left:
        mixed = [entry.name for entry in left]
        remarks.append(("Made of the checkpoint and of the model's own values, so not here", mixed))
    filled = len(plan.targets) - len(fresh) - len(left)
    strict = "" if not remarks else ", strict=False"
    return "\n".join(
        [
            '"""Weights of one naming into another, as torchgraft planned it.',
            "",
            f"    model.load_state_dict(convert(weights){strict})",
            *_remarks(remarks),
            '"""',
            "",
            "import torch",
            "",
            "",
            "def convert(source: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:",
            *textwrap.wrap(
                f'"""{_safe(_short(plan.checkpoint))} → {_safe(plan.model)}, {filled} tensors."""',
                _WIDTH,
                initial_indent="    ",
                subsequent_indent="    ",
            ),
            "    target: dict[str, torch.Tensor] = {}",
            *(f"    {line}" for line in body),
            "    return target",
            "",
        ]
    )


def _prefix_rules(moves: Sequence[Move], names: Sequence[str]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Prefixes to exchange (old, new), each with what it does to the names it is for."""
    rest = [move for move in moves if move.plain]
    while len(rest) >= _LEAST:
        (old, new), _ = Counter(_exchanged(move) for move in rest).most_common(1)[0]
        taken = {
            move.sources[0]: move.target
            for move in rest
            if move.sources[0].startswith(old) and move.target == new + move.sources[0][len(old) :]
        }
        skipped = sum(name.startswith(old) for name in names) - len(taken)
        if len(taken) < max(_LEAST, _SHARE * len(rest)) or skipped > min(_MOST_SKIPPED, len(taken) // 2):
            return
        yield old, new, taken
        rest = [move for move in rest if taken.get(move.sources[0]) != move.target]


def _exchanged(move: Move) -> tuple[str, str]:
    """The prefixes in which two names differ; they end at a dot."""
    old, new = move.sources[0].split("."), move.target.split(".")
    while len(old) > 0 and len(new) > 0 and old[-1] == new[-1]:
        old.pop()
        new.pop()
    if not old and not new:
        return "", ""
    return _dotted(old), _dotted(new)


def _dotted(segments: Sequence[str]) -> str:
    return ".".join(segments) + "." if segments else ""


def _rule(old: str, new: str, skipped: Sequence[str]) -> list[str]:
    conditions = [f"name.startswith({_text(old)})"] if old else []
    if len(skipped) == 1:
        conditions.append(f"name != {_text(skipped[0])}")
    elif skipped:
        names = ", ".join(map(_text, skipped))
        conditions.append(f"name not in ({names})")
    result = f"name.removeprefix({_text(old)})" if old else "name"
    result = f"{_text(new)} + {result}" if new else result
    lines = ["for name, tensor in source.items():"]
    depth = "    "
    if conditions:
        condition = f"    if {' and '.join(conditions)}:"
        if len(condition) > _WIDTH - 4 and len(skipped) > 1:
            begin = f"{conditions[0]} and " if old else ""
            condition = f"    if {begin}name not in (\n" + "".join(
                f"            {_text(name)},\n" for name in skipped
            )
            condition += "        ):"
        lines += condition.splitlines()
        depth += "    "
    return [*lines, f"{depth}target[{result}] = tensor"]


def _remarks(remarks: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    for what, names in remarks:
        yield ""
        kinds = list(dict.fromkeys(_numberless(name) for name in names)) if len(names) > 8 else list(names)
        shown = ", ".join(map(_safe, kinds[:20])) + (
            f" and {len(kinds) - 20} more" if len(kinds) > 20 else ""
        )
        yield from textwrap.wrap(f"{what}: {shown}.", _WIDTH, break_long_words=False)


def _short(checkpoint: str) -> str:
    """Where the weights come from, without the folders of this machine."""
    return re.split(r"[/\\\\]", checkpoint)[-1]


def _numberless(name: str) -> str:
    return re.sub(r"\d+", "*", name)


def _safe(text: str) -> str:
    """Text that can stand in a docstring whatever it holds."""
    return repr(text)[1:-1].replace("\\'", "'").replace("\\", "\\\\").replace('"', "'")


def _text(name: str) -> str:
    literal = repr(name)
    return f'"{literal[1:-1]}"' if literal.startswith("'") and '"' not in literal else literal
