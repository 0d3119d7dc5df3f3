"""Python's own types, acted out on plain data."""

from __future__ import annotations

from torchgraft.formats.container import Placeholder
from torchgraft.formats.pickles.values import Blob, Budget, Build, Global, apply_call, as_key

__all__ = ["PYTHON_TYPES"]


def _pairs(args: tuple[object, ...], budget: Budget) -> object:
    """A dict, or something like one, from nothing, from a dict or from a list of pairs."""
    if not args:
        return {}
    source = args[0]
    if isinstance(source, dict):
        budget.spend(len(source))
        return dict(source)
    if not isinstance(source, (list, tuple)):
        return NotImplemented
    budget.spend(len(source))
    made: dict[object, object] = {}
    for pair in source:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            return NotImplemented
        made[as_key(pair[0], budget)] = pair[1]
    return made


def _defaultdict(args: tuple[object, ...], budget: Budget) -> object:
    return _pairs(args[1:2], budget)


def _sequence(args: tuple[object, ...], budget: Budget) -> object:
    return [] if not args else list(_items(args[0], budget))


def _tuple(args: tuple[object, ...], budget: Budget) -> object:
    return () if not args else tuple(_items(args[0], budget))


def _set(args: tuple[object, ...], budget: Budget) -> object:
    return set() if not args else {as_key(item, budget) for item in _items(args[0], budget)}


def _frozenset(args: tuple[object, ...], budget: Budget) -> object:
    return frozenset() if not args else frozenset(as_key(item, budget) for item in _items(args[0], budget))


def _items(source: object, budget: Budget) -> list[object]:
    if not isinstance(source, (list, tuple, set, frozenset)):
        raise TypeError(f"a {type(source).__name__} has no items")
    budget.spend(len(source))
    return list(source)


def _range(args: tuple[object, ...], _budget: Budget) -> object:
    numbers = [part for part in args[:4] if isinstance(part, int) and abs(part) < 1 << 62]
    return range(*numbers) if len(numbers) == len(args) == 3 and numbers[2] else NotImplemented


def _slice(args: tuple[object, ...], _budget: Budget) -> object:
    numbers = [part for part in args[:4] if part is None or isinstance(part, int)]
    return slice(*numbers) if len(numbers) == len(args) == 3 else NotImplemented


def _complex(args: tuple[object, ...], _budget: Budget) -> object:
    if len(args) != 2:
        return NotImplemented
    real, imaginary = args
    if isinstance(real, (int, float)) and isinstance(imaginary, (int, float)):
        return complex(real, imaginary)
    return NotImplemented


def _bytes(args: tuple[object, ...], budget: Budget) -> object:
    """`bytes` and `bytearray`, from nothing, from bytes, or from text with an encoding."""
    if not args:
        return b""
    if isinstance(args[0], (bytes, Blob)):
        return args[0]
    return _encode(args, budget)


def _encode(args: tuple[object, ...], budget: Budget) -> object:
    """`_codecs.encode(text, "latin1")`: how protocol 2 writes bytes."""
    if len(args) == 2 and isinstance(args[0], str) and args[1] in {"latin1", "latin-1"}:
        budget.spend(len(args[0]))
        return args[0].encode("latin-1")
    return NotImplemented


def _path(args: tuple[object, ...], budget: Budget) -> object:
    if not all(isinstance(part, str) for part in args):
        return NotImplemented
    parts = [str(part) for part in args]
    budget.spend(sum(map(len, parts)))
    return parts[0] + "/".join(parts[1:]) if parts and parts[0] in {"/", "\\"} else "/".join(parts)


def _newobj(args: tuple[object, ...], budget: Budget) -> object:
    """`copyreg.__newobj__(cls, *args)`."""
    budget.spend(len(args))
    return apply_call(args[0], args[1:], budget) if args else NotImplemented


def _reconstructor(args: tuple[object, ...], budget: Budget) -> object:
    """`copyreg._reconstructor(cls, base, state)`: how protocols 0 and 1 make objects."""
    if len(args) != 3:
        return NotImplemented
    cls, _, state = args
    if not isinstance(cls, Global):
        return NotImplemented
    if isinstance(state, dict):
        budget.spend(len(state))
        return Placeholder(cls.name, items=dict(state))
    if isinstance(state, list):
        budget.spend(len(state))
        return Placeholder(cls.name, items=list(state))
    return Placeholder(cls.name, () if state is None else (state,))


PYTHON_TYPES: dict[str, Build] = {
    "_codecs.encode": _encode,
    "builtins.bytearray": _bytes,
    "builtins.bytes": _bytes,
    "builtins.complex": _complex,
    "builtins.dict": _pairs,
    "builtins.frozenset": _frozenset,
    "builtins.list": _sequence,
    "builtins.range": _range,
    "builtins.set": _set,
    "builtins.slice": _slice,
    "builtins.tuple": _tuple,
    "builtins.xrange": _range,
    "collections.OrderedDict": _pairs,
    "collections.defaultdict": _defaultdict,
    "collections.Counter": _pairs,
    "collections.deque": _sequence,
    "copyreg.__newobj__": _newobj,
    "copyreg._reconstructor": _reconstructor,
    **{
        f"{module}.{name}": _path
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath")
    },
}
