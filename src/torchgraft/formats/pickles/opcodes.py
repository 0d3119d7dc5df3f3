"""The pickle's opcodes, each a function of the machine and of where its argument begins.

Python's `pickletools` module documents them. Each returns where the next opcode is. Those that are
not here are in the machine's own loop.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import TypeAlias

from torchgraft.formats.container import Placeholder
from torchgraft.formats.pickles.machine import Machine
from torchgraft.formats.pickles.names import find_name
from torchgraft.formats.pickles.numpy_types import NUMPY_ARRAY, NumpyDtype, finish_array
from torchgraft.formats.pickles.values import Global, apply_call, as_key
from torchgraft.tensors import TensorRef

__all__ = ["HANDLERS"]

Handler: TypeAlias = Callable[[Machine, int], int]

_MAX_INT_BYTES = 1024
_MAX_DIGITS = 2400
_MAX_NAME = 4096


def _unknown(_m: Machine, _at: int) -> int:
    raise ValueError("there is no such opcode")


HANDLERS: list[Handler] = [_unknown] * 256


def _opcode(code: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS[code.encode("latin-1")[0]] = handler
        return handler

    return register


def _number(m: Machine, at: int, width: int, *, signed: bool = False) -> int:
    return int.from_bytes(m.take(at, width), "little", signed=signed)


# --- framing -------------------------------------------------------------------------------------


@_opcode("\x80")
def _proto(m: Machine, at: int) -> int:
    if m.data[at] > 5:
        raise ValueError(f"protocol {m.data[at]} is not known")
    return at + 1


@_opcode("\x95")
def _frame(m: Machine, at: int) -> int:
    if _number(m, at, 8) > len(m.data) - at - 8:
        raise IndexError("a frame is longer than the pickle")
    return at + 8


# --- constants -----------------------------------------------------------------------------------


def _constant(code: str, value: object) -> None:
    def handler(m: Machine, at: int) -> int:
        m.stack.append(value)
        return at

    _opcode(code)(handler)


def _empty(code: str, make: Callable[[], object]) -> None:
    def handler(m: Machine, at: int) -> int:
        m.stack.append(make())
        return at

    _opcode(code)(handler)


_constant("N", None)
_constant("\x88", True)
_empty("]", list)
_empty("}", dict)
_empty("\x8f", set)


# --- numbers -------------------------------------------------------------------------------------


def _integer(code: str, width: int, *, signed: bool) -> None:
    def handler(m: Machine, at: int) -> int:
        m.stack.append(_number(m, at, width, signed=signed))
        return at + width

    _opcode(code)(handler)


_integer("J", 4, signed=True)
_integer("M", 2, signed=False)


def _long(code: str, width: int) -> None:
    def handler(m: Machine, at: int) -> int:
        size = _number(m, at, width)
        if size > _MAX_INT_BYTES:
            raise ValueError(f"a whole number of {size} bytes")
        m.stack.append(_number(m, at + width, size, signed=True))
        return at + width + size

    _opcode(code)(handler)


_long("\x8a", 1)
_long("\x8b", 4)


@_opcode("I")
def _int_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    if line in {b"00", b"01"}:
        m.stack.append(line == b"01")
        return after
    return _long_text(m, at)


@_opcode("L")
def _long_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    if len(line) > _MAX_DIGITS:
        raise ValueError(f"a whole number of {len(line)} digits")
    m.stack.append(int(line.rstrip(b"L")))
    return after


@_opcode("F")
def _float_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    m.stack.append(float(line))
    return after


@_opcode("G")
def _float(m: Machine, at: int) -> int:
    m.stack.append(struct.unpack(">d", m.take(at, 8))[0])
    return at + 8


# --- text and bytes ------------------------------------------------------------------------------


def _decode_python2(raw: bytes) -> str:
    """Python 2 had one type for text and bytes; PyTorch reads both as text."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _sized(code: str, width: int, convert: Callable[[bytes], object]) -> None:
    def handler(m: Machine, at: int) -> int:
        size = _number(m, at, width)
        m.stack.append(convert(m.take(at + width, size)))
        return at + width + size

    _opcode(code)(handler)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


_sized("\x8c", 1, _text)
_sized("\x8d", 8, _text)
_sized("T", 4, _decode_python2)
_sized("U", 1, _decode_python2)
_sized("B", 4, bytes)
_sized("C", 1, bytes)
_sized("\x8e", 8, bytes)
_sized("\x96", 8, bytes)  # a bytearray; nothing here changes it


@_opcode("S")
def _string_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    line = line.strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
        raise ValueError("a string without quotes")
    m.stack.append(_decode_python2(_ESCAPE.sub(_unescape, line[1:-1])))
    return after


_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _unescape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if code[:1] == b"x" and len(code) == 3:
        return bytes([int(code[1:], 16)])
    if code.isdigit() and code[:1] < b"8":
        return bytes([int(code, 8) & 255])
    return _LETTERS.get(code, code if code in b"\\'\"" else found[0])


@_opcode("V")
def _unicode_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    m.stack.append(line.decode("raw-unicode-escape"))
    return after


# --- stack and memo ------------------------------------------------------------------------------


@_opcode("0")
def _pop(m: Machine, at: int) -> int:
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.stack.pop()
    return at


@_opcode("1")
def _pop_mark(m: Machine, at: int) -> int:
    m.pop_mark()
    return at


@_opcode("2")
def _dup(m: Machine, at: int) -> int:
    m.stack.append(m.stack[-1])
    return at


@_opcode("p")
def _put_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    m.memo[int(line[:20])] = m.stack[-1]
    return after


@_opcode("g")
def _get_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    m.stack.append(m.memo[int(line[:20])])
    return after


@_opcode("j")
def _long_get(m: Machine, at: int) -> int:
    m.stack.append(m.memo[_number(m, at, 4)])
    return at + 4


# --- collections ---------------------------------------------------------------------------------


def _tuple_of(code: str, size: int) -> None:
    def handler(m: Machine, at: int) -> int:
        if len(m.stack) < size:
            raise IndexError("the stack is empty")
        m.stack[-size:] = [tuple(m.stack[-size:])]
        return at

    _opcode(code)(handler)


_tuple_of("\x86", 2)
_tuple_of("\x87", 3)


@_opcode("l")
def _list(m: Machine, at: int) -> int:
    m.stack.append(m.pop_mark())
    return at


@_opcode("d")
def _dict(m: Machine, at: int) -> int:
    items = m.pop_mark()
    made: dict[object, object] = {}
    _set_items(m, made, items)
    m.stack.append(made)
    return at


@_opcode("\x91")
def _frozenset(m: Machine, at: int) -> int:
    m.stack.append(frozenset(as_key(item, m.budget) for item in m.pop_mark()))
    return at


@_opcode("a")
def _append(m: Machine, at: int) -> int:
    item = m.stack.pop()
    _extend(m.stack[-1], [item])
    return at


@_opcode("e")
def _appends(m: Machine, at: int) -> int:
    items = m.pop_mark()
    _extend(m.stack[-1], items)
    return at


@_opcode("s")
def _set_item(m: Machine, at: int) -> int:
    value, key = m.stack.pop(), m.stack.pop()
    _set_items(m, m.stack[-1], [key, value])
    return at


@_opcode("u")
def _set_items_op(m: Machine, at: int) -> int:
    items = m.pop_mark()
    _set_items(m, m.stack[-1], items)
    return at


@_opcode("\x90")
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


def _set_items(m: Machine, target: object, items: list[object]) -> None:
    if len(items) % 2:
        raise ValueError("a key without a value")
    if isinstance(target, Placeholder) and (target.items is None or isinstance(target.items, dict)):
        target.items = target.items or {}
        target = target.items
    if not isinstance(target, dict):
        raise TypeError(f"a {type(target).__name__} takes no keys")
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[key if type(key) is str else as_key(key, m.budget)] = value


# --- names and objects: all of them data ---------------------------------------------------------


@_opcode("c")
def _global(m: Machine, at: int) -> int:
    module, after = m.line(at)
    name, after = m.line(after)
    m.stack.append(_find(module.decode(), name.decode()))
    return after


@_opcode("\x93")
def _stack_global(m: Machine, at: int) -> int:
    name, module = m.stack.pop(), m.stack.pop()
    m.stack.append(_find(module, name))
    return at


def _find(module: object, name: object) -> object:
    if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > _MAX_NAME:
        raise TypeError("a name that is none")
    return find_name(module, name)


def _extension(code: str, width: int) -> None:
    def handler(m: Machine, at: int) -> int:
        m.stack.append(Global(f"copyreg.extension{_number(m, at, width)}"))
        return at + width

    _opcode(code)(handler)


_extension("\x82", 1)
_extension("\x83", 2)
_extension("\x84", 4)


@_opcode("\x81")
def _newobj(m: Machine, at: int) -> int:
    """`cls.__new__(cls, *args)`: as data the same as REDUCE, which is a call."""
    args = m.stack.pop()
    m.stack[-1] = apply_call(m.stack[-1], args, m.budget)
    return at


@_opcode("\x92")
def _newobj_ex(m: Machine, at: int) -> int:
    keywords, args = m.stack.pop(), m.stack.pop()
    if not isinstance(args, tuple):
        raise TypeError("arguments that are none")
    m.budget.spend(len(args))
    m.stack[-1] = apply_call(m.stack[-1], (*args, keywords) if keywords else args, m.budget)
    return at


@_opcode("i")
def _inst(m: Machine, at: int) -> int:
    after = _global(m, at)
    target = m.stack.pop()
    m.stack.append(apply_call(target, tuple(m.pop_mark()), m.budget))
    return after


@_opcode("o")
def _obj(m: Machine, at: int) -> int:
    target, *args = m.pop_mark()
    m.stack.append(apply_call(target, tuple(args), m.budget))
    return at


@_opcode("b")
def _build(m: Machine, at: int) -> int:
    """Restores an object's state. Only placeholders and numpy's two types have one here.

    An ordered dict may carry attributes (a state dict's `_metadata`: versions of its modules); they
    are not kept, nor are those of tensors.
    """
    state = m.stack.pop()
    target = m.stack[-1]
    if isinstance(target, NumpyDtype):
        target.restore(state)
    elif isinstance(target, Placeholder):
        made = finish_array(state, m.budget) if target.class_name == NUMPY_ARRAY else NotImplemented
        if made is NotImplemented:
            target.state = state if target.state is None else (target.state, state)
            return at
        m.stack[-1] = made
        # The unfinished array has been memoised a moment ago; later uses must find the finished one.
        for _, key in zip(range(64), reversed(m.memo), strict=False):
            if m.memo[key] is target:
                m.memo[key] = made
                break
    elif not isinstance(target, (dict, list, set, TensorRef)):
        raise TypeError(f"a {type(target).__name__} has no state")
    return at


@_opcode("P")
def _persistent_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    if m.persistent is None:
        raise ValueError("it refers to something outside itself")
    m.stack.append(m.persistent(line.decode()))
    return after
