"""What ops need to know of a tensor's place: grids of position tables, windows, patches; what was said."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch

from torchgraft.adapting import ANY_OP, PatchKernel, Positions, RelativePositions, TextPositions
from torchgraft.adapting.grids import source_grid
from torchgraft.adapting.ops import Role, Shape
from torchgraft.adapting.places import Grid, Line, PatchPlace, PositionPlace, Window, WindowPlace
from torchgraft.adapting.sine_positions import sine_formula
from torchgraft.anatomy.token_kinds import kind_of_token
from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import AdaptError
from torchgraft.planning.roles import Roles
from torchgraft.planning.targets import Target

__all__ = ["Placing"]

_KINDS = ("class", "distillation", "register")
_MOST_TOKENS = 16
_WORDS = ("grid", "prefix", "suffix", "to", "window", "mode")
_HINT = f"words for a place: {', '.join(_WORDS)}"


@dataclass(frozen=True)
class Placing:
    """Fills `Change.place`.

    Attributes:
        source: The checkpoint, whose other tensors show which tokens it has.
        roles: Knows where the model keeps positions.
    """

    source: Checkpoint
    roles: Roles

    def role(self, key: str, modes: Mapping[str, object]) -> Role:
        """The tensor's role, also as far as the user said it: who declares a grid means positions."""
        role = self.roles.of(key)
        if role in ("stem", "body") and isinstance(modes.get(ANY_OP), Mapping):
            said = _said(modes)
            return "position" if "grid" in said else "relative-position" if "window" in said else role
        return role

    def declared(self, key: str, modes: Mapping[str, object]) -> bool:
        """Whether the user says how the checkpoint's positions stand, which may differ in equal shapes."""
        places = (mode for mode in modes.values() if isinstance(mode, Mapping))
        if not any({"grid", "window"} & set(place) for place in places):
            return False
        return self.role(key, modes) in ("position", "relative-position")

    def of(
        self,
        target: Target,
        role: Role,
        given: Shape,
        partner: str,
        modes: Mapping[str, object],
        *,
        plain: bool,
    ) -> tuple[object, Mapping[str, object]]:
        """The place, and the modes without what they say of it.

        Args:
            target: The model's tensor.
            role: What it is.
            given: The shape that comes from the checkpoint.
            partner: What the checkpoint calls it.
            modes: As the user gave them.
            plain: Whether the checkpoint's values are taken as they lie there.

        Raises:
            AdaptError: What was said does not fit.
        """
        said = _said(modes) if role in ("position", "relative-position") else {}
        left = {op: mode for op, mode in modes.items() if not isinstance(mode, Mapping)}
        if "mode" in said:
            left[ANY_OP] = said["mode"]
        name, shape = target.named.name, target.named.shape
        if role == "stem":
            return _patches(target, given, self.roles) or self.roles.layout(name), modes
        if role == "relative-position":
            return self._window(name, said), left
        if role == "position":
            return self._positions(name, given, shape, partner, said, plain=plain), left
        return None, modes

    def _positions(
        self, name: str, given: Shape, shape: Shape, partner: str, said: Mapping[str, object], *, plain: bool
    ) -> PositionPlace | None:
        table = self.roles.positions.get(name)
        target = table.place if table is not None else _declared_target(shape, said)
        if not isinstance(target, Grid | Line):
            return None
        prefixes = tuple(self._prefixes(partner, shape[-1])) if isinstance(target, Grid) else ()
        source = _declared(given, said, target, prefixes) if "grid" in said else None
        place = PositionPlace(target, source, table.kinds if table else (), prefixes)
        formula = self._formula(partner, given, place) if plain else None
        return PositionPlace(target, source, place.kinds, prefixes, formula)

    def _prefixes(self, table: str, width: int) -> Iterator[tuple[str, ...]]:
        """What may stand before the patches: any of the tokens that the checkpoint holds, or none."""
        nearest: dict[str, tuple[int, int]] = {}
        for name, ref in self.source.items():
            kind = kind_of_token(name)
            count = math.prod(ref.shape[:-1])
            is_token = "token" in name or "class_embedding" in name
            if kind not in _KINDS or not is_token or ref.shape[-1:] != (width,) or count > _MOST_TOKENS:
                continue
            near = _in_common(name, table)
            if kind not in nearest or near > nearest[kind][0]:
                nearest[kind] = (near, count)
        kinds = [kind for kind in _KINDS if kind in nearest]
        for size in range(len(kinds), -1, -1) if kinds else ():
            for chosen in combinations(kinds, size):
                yield tuple(kind for kind in chosen for _ in range(nearest[kind][1]))

    def _formula(self, partner: str, given: Shape, place: PositionPlace) -> str | None:
        """The formula of the checkpoint's values; the table is read for it."""
        if len(given) < 2 or math.prod(given[:-2]) != 1:
            return None
        where: Grid | Line
        try:
            where = source_grid(given, "tokens", place) if isinstance(place.target, Grid) else Line(given[-2])
        except AdaptError:
            return None
        values = self.source[partner].view()
        if values.is_meta or values.layout != torch.strided or tuple(values.shape) != given:
            return None
        return sine_formula(values, (where,))

    def _window(self, name: str, said: Mapping[str, object]) -> WindowPlace | None:
        table = self.roles.positions.get(name)
        target = table.place if table is not None else _pair(said["to"], Window) if "to" in said else None
        if not isinstance(target, Window):
            return None
        source = _pair(said["window"], Window) if "window" in said else None
        if source is not None and target.extra:
            source = Window(source.rows, source.columns, target.extra)
        return WindowPlace(target, source)


def _said(modes: Mapping[str, object]) -> Mapping[str, object]:
    """What the modes say of the place, the most particular word first."""
    for op in (ANY_OP, Positions.name, RelativePositions.name, TextPositions.name, PatchKernel.name):
        said = modes.get(op)
        if isinstance(said, Mapping):
            if not said or not set(said) <= set(_WORDS):
                raise AdaptError(f"{dict(said)} says nothing of a place", hint=_HINT)
            return said
    return {}


def _declared(
    given: Shape, said: Mapping[str, object], target: Grid | Line, prefixes: Sequence[tuple[str, ...]]
) -> Grid:
    """The checkpoint's grid, as it was said; what is left of its rows stands before it."""
    rows, columns = _sides(said["grid"])
    here = target if isinstance(target, Grid) else Grid(1, 1)
    suffix = _count(said.get("suffix", here.suffix))
    if math.prod(given[:-2]) != 1:
        return Grid(rows, columns)
    rest = given[-2] - rows * columns - suffix
    if rest < 0:
        raise AdaptError(f"a grid of {rows}x{columns} has more positions than the checkpoint's {given[-2]}")
    if _count(said.get("prefix", rest)) != rest or (
        "prefix" not in said and rest not in {0, here.prefix, *map(len, prefixes)}
    ):
        raise AdaptError(
            f"a grid of {rows}x{columns} leaves {rest} of {given[-2]} positions for other tokens",
            hint=f'if that is so, say "prefix": {rest}',
        )
    return Grid(rows, columns, rest, suffix)


def _declared_target(shape: Shape, said: Mapping[str, object]) -> Grid | None:
    """The model's grid where no run showed it: as it was said, or a square after as many other tokens."""
    if "to" in said and len(shape) >= 2:
        rows, columns = _sides(said["to"])
        return Grid(rows, columns, max(shape[-2] - rows * columns, 0))
    if "prefix" in said and len(shape) >= 2:
        prefix = _count(said["prefix"])
        side = math.isqrt(max(shape[-2] - prefix, 0))
        return Grid(side, side, prefix) if side and side * side + prefix == shape[-2] else None
    return None


def _patches(target: Target, given: Shape, roles: Roles) -> PatchPlace | None:
    """How a stem cuts the image, if its patches do not overlap and the checkpoint's are of another size."""
    owner, shape = target.owner, target.named.shape
    if target.attribute != "weight" or len(given) != len(shape):
        return None
    if len(shape) == 4:
        whole = tuple(getattr(owner, "stride", ())) == tuple(getattr(owner, "kernel_size", (0, 0)))
        return PatchPlace((shape[2], shape[3])) if whole and given[2:] != shape[2:] else None
    layout = roles.layout(target.named.name)
    order = roles.patch_order(target.named.name) if layout is not None and given[1] != shape[1] else None
    if layout is None or order is None:
        return None
    old, new = (_side(inputs, layout.channels) for inputs in (given[1], shape[1]))
    return PatchPlace((new, new), order, layout.channels) if old and new and old != new else None


def _side(inputs: int, channels: int) -> int:
    """The side of a square patch of so many inputs; 0 if there is none."""
    side = math.isqrt(inputs // channels)
    return side if side * side * channels == inputs else 0


def _in_common(one: str, other: str) -> int:
    """How many leading parts two names share."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), 0)


def _pair(value: object, kind: type[Window]) -> Window:
    return kind(*_sides(value))


def _sides(value: object) -> tuple[int, int]:
    if isinstance(value, Sequence) and len(value) == 2 and all(isinstance(side, int) for side in value):
        return (value[0], value[1])
    raise AdaptError(f"{value!r} is no number of rows and columns", hint="such as [14, 14]")


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise AdaptError(f"{value!r} is no number of tokens")
