"""Opcodes that work on the stack, the memo and the collections on it."""

from __future__ import annotations

from torchgraft.formats.container import Placeholder
from torchgraft.formats.pickles.machine import Machine
from torchgraft.formats.pickles.opcode_table import number, opcode
from torchgraft.formats.pickles.values import as_key

__all__ = ["set_items"]


@opcode("0")
def _pop(m: Machine, at: int) -> int:
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.stack.pop()
    return at


@opcode("1")
def _pop_mark(m: Machine, at: int) -> int:
    m.pop_mark()
    return at


@opcode("2")
def _dup(m: Machine, at: int) -> int:
    m.stack.append(m.stack[-1])
    return at


@opcode("p")
def _put_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    m.memo[int(line[:20])] = m.stack[-1]
    return after


@opcode("g")
def _get_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    m.stack.append(m.memo[int(line[:20])])
    return after


@opcode("j")
def _long_get(m: Machine, at: int) -> int:
    m.stack.append(m.memo[number(m, at, 4)])
    return at + 4


def _tuple_of(code: str, size: int) -> None:
    def handler(m: Machine, at: int) -> int:
        if len(m.stack) < size:
            raise IndexError("the stack is empty")
        m.stack[-size:] = [tuple(m.stack[-size:])]
        return at

    opcode(code)(handler)


_tuple_of("\x86", 2)
_tuple_of("\x87", 3)


@opcode("l")
def _list(m: Machine, at: int) -> int:
    m.stack.append(m.pop_mark())
    return at


@opcode("d")
def _dict(m: Machine, at: int) -> int:
    items = m.pop_mark()
    made: dict[object, object] = {}
    set_items(m, made, items)
    m.stack.append(made)
    return at


@opcode("\x91")
def _frozenset(m: Machine, at: int) -> int:
    m.stack.append(frozenset(as_key(item, m.budget) for item in m.pop_mark()))
    return at


@opcode("a")
def _append(m: Machine, at: int) -> int:
    item = m.stack.pop()
    _extend(m.stack[-1], [item])
    return at


@opcode("e")
def _appends(m: Machine, at: int) -> int:
    items = m.pop_mark()
    _extend(m.stack[-1], items)
    return at


@opcode("s")
def _set_item(m: Machine, at: int) -> int:
    value, key = m.stack.pop(), m.stack.pop()
    set_items(m, m.stack[-1], [key, value])
    return at


@opcode("u")
def _set_items_op(m: Machine, at: int) -> int:
    items = m.pop_mark()
    set_items(m, m.stack[-1], items)
    return at


@opcode("\x90")
def _add_items(m: Machine, at: int) -> int:
    items = m.pop_mark()
    target = m.stack[-1]
    if isinstance(target, set):
        target.update(as_key(item, m.budget) for item in items)
    else:
        _extend(target, items)
    return at


def _extend(target: object, items: list[object]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, Placeholder) and (target.items is None or isinstance(target.items, list)):
        target.items = target.items or []
        target.items.extend(items)
    else:
        raise TypeError(f"a {type(target).__name__} takes no items")


def set_items(m: Machine, target: object, items: list[object]) -> None:
    """Put keys and values, one after the other, into a dict or what is like one."""
    if len(items) % 2:
        raise ValueError("a key without a value")
    if isinstance(target, Placeholder) and (target.items is None or isinstance(target.items, dict)):
        target.items = target.items or {}
        target = target.items
    if not isinstance(target, dict):
        raise TypeError(f"a {type(target).__name__} takes no keys")
    if len(items) == 2 and type(items[0]) is str:
        target[items[0]] = items[1]
        return
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[key if type(key) is str else as_key(key, m.budget)] = value
