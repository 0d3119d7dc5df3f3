"""Lines of a script under as few loops as say the same: over numbers, over leaves such as weight and bias."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile

from torchgraft.planning.script_lines import VARIABLES, Line
from torchgraft.planning.script_moves import slot

__all__ = ["loops", "quoted", "values"]

_WIDTH = 100
_INDENT = "    "


def loops(lines: Sequence[Line]) -> Iterator[str]:
    """The lines of Python that fill `target` from `source`."""
    blocks: dict[tuple[tuple[int, ...], ...], list[Line]] = {}
    for line in lines:
        blocks.setdefault(line.rows, []).append(line)
    for rows, block in blocks.items():
        heads = list(_heads(list(rows), VARIABLES[: len(rows[0])]))
        depth = 0
        for head in heads:
            yield from textwrap.indent(head, _INDENT * depth).splitlines()
            depth += 1
        yield from (_INDENT * depth + text for text in _body(block, named=bool(heads)))


def _heads(rows: Sequence[tuple[int, ...]], variables: Sequence[str]) -> Iterator[str]:
    """The `for` statements that give all rows, and nothing else."""
    if not variables:
        return
    if len(variables) == 1:
        yield f"for {variables[0]} in {values([row[0] for row in rows])}:"
        return
    inner: dict[int, list[tuple[int, ...]]] = {}
    for row in rows:
        inner.setdefault(row[0], []).append(row[1:])
    first, *others = inner.values()
    if all(other == first for other in others):
        yield f"for {variables[0]} in {values(list(inner))}:"
        yield from _heads(first, variables[1:])
        return
    ragged = _ragged(inner)
    if ragged is not None:
        start, counts, common = ragged
        outer, depths = values(list(inner)), tuple(counts)
        begun = list(inner) == list(range(min(inner), min(inner) + len(inner)))
        if begun:
            first_number = f", {min(inner)}" if min(inner) else ""
            yield f"for {variables[0]}, count in enumerate({depths}{first_number}):"
        else:
            yield f"for {variables[0]}, count in zip({outer}, {depths}):"
        yield f"for {variables[1]} in range({f'{start}, count + {start}' if start else 'count'}):"
        yield from _heads(common, variables[2:])
        return
    yield f"for {', '.join(variables)} in {_wrapped([str(row) for row in rows])}:"


def _ragged(
    inner: dict[int, list[tuple[int, ...]]],
) -> tuple[int, list[int], list[tuple[int, ...]]] | None:
    """Stages of several depths: the first block's number, each depth, what all blocks have in common."""
    start = min(row[0] for below in inner.values() for row in below)
    counts = []
    common: list[tuple[int, ...]] | None = None
    for below in inner.values():
        blocks: dict[int, list[tuple[int, ...]]] = {}
        for row in below:
            blocks.setdefault(row[0], []).append(row[1:])
        common = common or next(iter(blocks.values()))
        consecutive = list(blocks) == list(range(start, start + len(blocks)))
        if not consecutive or any(held != common for held in blocks.values()):
            return None
        counts.append(len(blocks))
    return (start, counts, common) if common else None


def values(numbers: Sequence[int]) -> str:
    """What to loop over for ascending whole numbers."""
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
    if len(numbers) > 1 and all(b - a == step for a, b in pairwise(numbers)):
        stop = numbers[-1] + step
        if step == 1:
            return f"range({stop})" if numbers[0] == 0 else f"range({numbers[0]}, {stop})"
        if len(numbers) > 2:
            return f"range({numbers[0]}, {numbers[-1] + 1}, {step})"
    return _wrapped([str(number) for number in numbers])


def _wrapped(items: Sequence[str]) -> str:
    """A tuple, over several lines where one is too long."""
    text = "(" + ", ".join(items) + (",)" if len(items) == 1 else ")")
    if len(text) < _WIDTH - 20:
        return text
    unbroken = ", ".join(item.replace(" ", "\xa0") for item in items) + ","
    inside = textwrap.fill(unbroken, _WIDTH - 8, break_long_words=False).replace("\xa0", " ")
    return "(\n" + textwrap.indent(inside, _INDENT) + "\n)"


def _body(block: Sequence[Line], *, named: bool) -> Iterator[str]:
    """The statements of one loop."""
    new, old = "", ""
    if named and len(block) > 1:
        new = _stem([line.target for line in block])
        old = _stem([source for line in block for source in line.sources])
    stems = [("new", new), ("old", old)] if new != old else [("block", new)] * 2
    for variable, stem in dict(stems).items():
        if stem:
            yield f"{variable} = {quoted(stem)}"
    for leaves, lines in _by_leaves(block).items():
        several = len(leaves) * len(lines) > 2 and len(leaves) > 1
        if several:
            yield f"for leaf in ({', '.join(map(quoted, leaves))}):"
        for leaf in ("{leaf}",) if several else leaves or (None,):
            for line in lines:
                whole = line if leaf is None else _with_leaf(line, leaf)
                yield from (_INDENT * several + text for text in _statement(whole, *stems))


def _by_leaves(block: Sequence[Line]) -> dict[tuple[str, ...], list[Line]]:
    """Lines without their last segment by what stands there; the others, by nothing, as they are."""
    apart = [_by_leaf(line) for line in block]
    leaves: dict[Line, list[str]] = {}
    for stem, leaf in apart:
        if leaf:
            leaves.setdefault(stem, []).append(leaf)
    together: dict[tuple[str, ...], list[Line]] = {}
    for line, (stem, leaf) in zip(block, apart, strict=True):
        found = leaves[stem] if leaf else []
        if len(found) < 2:
            together.setdefault((), []).append(line)
        elif leaf == found[0]:
            together.setdefault(tuple(found), []).append(stem)
    return together


def _by_leaf(line: Line) -> tuple[Line, str]:
    """The line without its last segment, and that, if it is the same in all names."""
    stem, dot, leaf = line.target.rpartition(".")
    cut = [source.rpartition(".") for source in line.sources]
    if not dot or "{" in leaf or any(end != leaf for _, _, end in cut):
        return line, ""
    return Line(stem, tuple(before for before, _, _ in cut), line.pattern, line.rows), leaf


def _with_leaf(line: Line, leaf: str) -> Line:
    """A line whose last segment was taken off, with another."""
    sources = tuple(f"{source}.{leaf}" if source else leaf for source in line.sources)
    return Line(f"{line.target}.{leaf}", sources, line.pattern, line.rows)


def _stem(names: Sequence[str]) -> str:
    """The path that all names begin with, if a loop variable is in it."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    shared = "".join(letters[0] for letters in alike)
    stem = shared[: max(shared.rfind("."), shared.rfind("/"), 0)]
    return stem if "{" in stem.replace("{{", "") else ""


def _statement(line: Line, new: tuple[str, str], old: tuple[str, str]) -> list[str]:
    sources = [f"source[{_shortened(source, *old)}]" for source in line.sources]
    before: list[str] = []
    lines = line.pattern
    if len(sources) == 1 and lines[0].count(slot(0)) > 1:  # named once, in the precision it is used in
        wide = f"{slot(0)}.float()"
        cast = ".float()" if lines[0].count(wide) == lines[0].count(slot(0)) else ""
        lines = tuple(text.replace(wide, slot(0)) for text in lines) if cast else lines
        before, sources = [f"w = {sources[0]}{cast}"], ["w"]
    pattern = []
    for text in lines:
        for index, source in enumerate(sources):
            text = text.replace(slot(index), source)
        pattern.append(text)
    target = f"target[{_shortened(line.target, *new)}] = "
    if len(pattern) == 1:
        if len(target + pattern[0]) <= _WIDTH:
            return [*before, target + pattern[0]]
        return [*before, target + "(", _INDENT + pattern[0], ")"]
    opening, *parts, closing = pattern
    one = f"{target}{opening}{', '.join(parts)}{closing}"
    if len(one) <= _WIDTH:
        return [one]
    return [target + opening, *(f"{_INDENT}{part}," for part in parts), closing]


def _shortened(name: str, variable: str, stem: str) -> str:
    if stem and name.startswith((f"{stem}.", f"{stem}/")):
        name = f"{{{variable}}}{name[len(stem) :]}"
    return quoted(name)


def quoted(text: str) -> str:
    """The inside of an f-string as a literal of Python; a plain one if nothing is filled in."""
    filled = "{" in text.replace("{{", "")
    if not filled:
        text = text.replace("{{", "{").replace("}}", "}")
    literal = repr(text)
    if literal.startswith("'") and '"' not in literal:
        literal = f'"{literal[1:-1]}"'
    return f"f{literal}" if filled else literal
