"""Opcodes that name classes, call and restore objects: all of it is acted out on data."""

from __future__ import annotations

from torchgraft.formats.container import Placeholder
from torchgraft.formats.pickles.machine import Machine
from torchgraft.formats.pickles.names import find_name
from torchgraft.formats.pickles.numpy_types import NUMPY_ARRAY, NumpyDtype, describe, finish_array
from torchgraft.formats.pickles.opcode_table import number, opcode
from torchgraft.formats.pickles.values import Global, apply_call
from torchgraft.tensors import TensorRef

__all__: list[str] = []

_MAX_NAME = 4096


@opcode("c")
def _global(m: Machine, at: int) -> int:
    module, after = m.line(at)
    name, after = m.line(after)
    m.stack.append(_find(module.decode(), name.decode()))
    return after


@opcode("\x93")
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
        m.stack.append(Global(f"copyreg.extension{number(m, at, width)}"))
        return at + width

    opcode(code)(handler)


_extension("\x82", 1)
_extension("\x83", 2)
_extension("\x84", 4)


@opcode("\x81")
def _newobj(m: Machine, at: int) -> int:
    """`cls.__new__(cls, *args)`: as data the same as REDUCE, which is a call."""
    args = m.stack.pop()
    m.stack[-1] = apply_call(m.stack[-1], args, m.budget)
    return at


@opcode("\x92")
def _newobj_ex(m: Machine, at: int) -> int:
    keywords, args = m.stack.pop(), m.stack.pop()
    if not isinstance(args, tuple):
        raise TypeError("arguments that are none")
    m.budget.spend(len(args))
    m.stack[-1] = apply_call(m.stack[-1], (*args, keywords) if keywords else args, m.budget)
    return at


@opcode("i")
def _inst(m: Machine, at: int) -> int:
    after = _global(m, at)
    target = m.stack.pop()
    m.stack.append(apply_call(target, tuple(m.pop_mark()), m.budget))
    return after


@opcode("o")
def _obj(m: Machine, at: int) -> int:
    target, *args = m.pop_mark()
    m.stack.append(apply_call(target, tuple(args), m.budget))
    return at


@opcode("b")
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
            if target.class_name == NUMPY_ARRAY:
                target.args = (describe(state),)
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


@opcode("P")
def _persistent_text(m: Machine, at: int) -> int:
    line, after = m.line(at)
    if m.persistent is None:
        raise ValueError("it refers to something outside itself")
    m.stack.append(m.persistent(line.decode()))
    return after
