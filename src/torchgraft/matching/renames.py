"""The user's own rules for renaming source tensors, applied before anything is compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeAlias

from torchgraft.errors import MatchError

__all__ = ["Renames", "apply_renames"]

Rule: TypeAlias = tuple["str | re.Pattern[str]", str]
Renames: TypeAlias = Mapping["str | re.Pattern[str]", str] | Sequence["Rule | str"]
"""`{old: new}`, `[(old, new), …]` or `["old=new", …]`.

A plain `old` is one or more whole segments of a dotted name, wherever they stand (`"branch_a"`,
`"teacher."`); `""` stands for the start of every name, so that `{"": "backbone."}` adds a prefix. A compiled
pattern, or the text `"re:…=…"`, is a regular expression for `re.sub`."""

_Plain: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]

_MOST_PARTS = 2000  # of names, in which one like a rule is looked for


def apply_renames(names: Sequence[str], rename: Renames | None) -> tuple[list[str], list[str]]:
    """Rename all `names`.

    Neighbouring plain rules act at once, so that `{"a": "b", "b": "a"}` swaps; regular expressions act in
    turn.

    Returns:
        The new names, in the same order, and a note for each rule that changed nothing.

    Raises:
        MatchError: A rule can't be read, or two names became one.
    """
    if not rename:
        return list(names), []
    rules = _parse(rename)
    notes = []
    renamed = list(names)
    for group in _groups(rules):
        before = renamed
        if isinstance(group, list):
            used: set[_Plain] = set()
            renamed = [_substitute(name, group, used) for name in before]
            idle = [".".join(old) for old, new in group if (old, new) not in used]
        else:
            pattern, new = group
            try:
                renamed = [pattern.sub(new, name) for name in before]
            except (re.error, IndexError) as error:
                raise MatchError(
                    f"the rename rule {pattern.pattern!r} → {new!r} can't be applied: {error}"
                ) from error
            idle = [pattern.pattern] if renamed == before else []
        notes += [f"the rename rule {rule!r} changed no name{_near(rule, before)}" for rule in idle]
    _check_distinct(names, renamed)
    return renamed, notes


def _near(rule: str, names: Sequence[str]) -> str:
    """What part of a name the rule may have meant."""
    size = rule.count(".") + 1
    split = (name.split(".") for name in names)
    parts = dict.fromkeys(
        ".".join(name[at : at + size]) for name in split for at in range(len(name) - size + 1)
    )
    near = get_close_matches(rule, list(parts)[:_MOST_PARTS], n=1)
    return f"; the names have {near[0]!r}" if near else ""


def _parse(rename: Renames) -> list[tuple[_Plain | re.Pattern[str], str]]:
    given: Iterable[object] = rename.items() if isinstance(rename, Mapping) else rename
    if isinstance(rename, str):
        given = [rename]
    rules: list[tuple[_Plain | re.Pattern[str], str]] = []
    for rule in given:
        old, new = _split(rule)
        if isinstance(old, str) and not old.startswith("re:"):
            rules.append(((_segments(old), _segments(new)), new))
            continue
        try:
            rules.append((re.compile(old[3:]) if isinstance(old, str) else old, new))
        except re.error as error:
            raise MatchError(f"the rename rule {old!r} is not a regular expression: {error}") from error
    return rules


def _split(rule: object) -> tuple[str | re.Pattern[str], str]:
    if isinstance(rule, str) and "=" in rule:
        # a regular expression may hold "=" itself ("(?=…)"): its replacement hardly ever does
        old, _, new = rule.rpartition("=") if rule.startswith("re:") else rule.partition("=")
        return old, new
    if isinstance(rule, tuple) and len(rule) == 2:
        old, new = rule
        if isinstance(old, str | re.Pattern) and isinstance(new, str):
            return old, new
    raise MatchError(
        f"the rename rule {rule!r} can't be read",
        hint='rename={"old": "new"}, rename=["old=new"] or rename=["re:pattern=replacement"]',
    )


def _segments(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(".") if part)


def _groups(
    rules: list[tuple[_Plain | re.Pattern[str], str]],
) -> Iterable[list[_Plain] | tuple[re.Pattern[str], str]]:
    plain: list[_Plain] = []
    for rule, new in rules:
        if isinstance(rule, tuple):
            plain.append(rule)
            continue
        if plain:
            yield plain
            plain = []
        yield rule, new
    if plain:
        yield plain


def _substitute(name: str, rules: list[_Plain], used: set[_Plain]) -> str:
    segments = name.split(".")
    out: list[str] = []
    for rule in rules:
        if not rule[0]:
            out += rule[1]
            used.add(rule)
    at = 0
    while at < len(segments):
        for rule in rules:
            old, new = rule
            if old and tuple(segments[at : at + len(old)]) == old:
                out += new
                at += len(old)
                used.add(rule)
                break
        else:
            out.append(segments[at])
            at += 1
    return ".".join(out)


def _check_distinct(names: Sequence[str], renamed: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for old, new in zip(names, renamed, strict=True):
        if new in first:
            raise MatchError(f"the rename rules give {first[new]!r} and {old!r} the same name {new!r}")
        first[new] = old
