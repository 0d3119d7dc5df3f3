"""From a change of shape to the ops that make it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torchgraft.adapting.block import Block
from torchgraft.adapting.change import Change
from torchgraft.adapting.copied_channels import CopiedChannels
from torchgraft.adapting.inflated import Deflated, Inflated
from torchgraft.adapting.input_channels import InputChannels
from torchgraft.adapting.merged_rows import MergedRows
from torchgraft.adapting.ops import Op, Shape
from torchgraft.adapting.patch_kernel import PatchKernel
from torchgraft.adapting.permuted import Permuted
from torchgraft.adapting.pointwise import Pointwise
from torchgraft.adapting.positions import Positions
from torchgraft.adapting.relative_positions import RelativePositions
from torchgraft.adapting.reshaped import Reshaped
from torchgraft.adapting.rows import Rows
from torchgraft.adapting.sine_positions import SinePositions
from torchgraft.adapting.text_positions import TextPositions
from torchgraft.adapting.vocabulary import Vocabulary
from torchgraft.errors import AdaptError

__all__ = ["find_ops", "modes_of_ops", "op_from_json"]


class _OpClass(Protocol):
    name: str

    def fit(self, shape: Shape, change: Change) -> Op | None:
        """The op that brings a tensor which has `shape` by now nearer to `change.target`, if there is one."""
        ...

    def from_json(self, data: Mapping[str, Any]) -> Op:
        """The op of that JSON."""
        ...


# To add an op: write its class in a file of its own and list it here. Each is offered the shape once, in this
# order; `Rows` is last because it needs the model's own tensor, which has the final shape.
_OPS: tuple[_OpClass, ...] = (
    Permuted,
    Block,
    Pointwise,
    Positions,
    TextPositions,
    SinePositions,
    RelativePositions,
    Reshaped,
    PatchKernel,
    Inflated,
    Deflated,
    CopiedChannels,
    InputChannels,
    Vocabulary,
    MergedRows,
    Rows,
)


def find_ops(change: Change) -> tuple[Op, ...]:
    """The steps from a checkpoint's tensor to the model's.

    Returns:
        The ops in order. Empty if the shapes are equal, unless `change.rows` or a mode that is a map puts
        classes or channels in another order.

    Raises:
        AdaptError: No chain of ops fits; the message says what would allow it.
    """
    shape = change.source
    ops: list[Op] = []
    for op_class in _OPS:
        op = op_class.fit(shape, change)
        if op is not None:
            ops.append(op)
            shape = op.shape(shape)
    if shape != change.target:
        raise AdaptError(
            f"no rule turns shape {list(change.source)} into {list(change.target)} in a {change.role} tensor",
            hint=_advice(shape, change),
        )
    return tuple(ops)


def modes_of_ops() -> tuple[str, ...]:
    """The names of the ops that have modes."""
    return tuple(op_class.name for op_class in _OPS if hasattr(op_class, "with_mode"))


def op_from_json(data: Mapping[str, Any]) -> Op:
    """The op that `Op.to_json` wrote.

    Raises:
        AdaptError: There is no op of that name, or a field is missing or wrong.
    """
    known = {op_class.name: op_class for op_class in _OPS}
    name = data.get("op")
    if name not in known:
        raise AdaptError(f"there is no op {name!r}", hint=f"known: {', '.join(known)}")
    try:
        return known[name].from_json(data)
    except (KeyError, TypeError, ValueError) as error:
        raise AdaptError(f"op {name!r} can't be read from {dict(data)!r}: {error!r}") from error


def _advice(shape: Shape, change: Change) -> str | None:
    """What would allow it, where the shapes hint at what was meant."""
    target, role = change.target, change.role
    if len(shape) != len(target) or not shape:
        return None
    differ = [dim for dim, (have, want) in enumerate(zip(shape, target, strict=True)) if have != want]
    if differ == [1] and len(shape) == 3 and shape[0] == 1:
        return (
            "if it holds positions of patches, say of which grids: modes={its name: "
            '{"grid": [rows, columns], "to": [rows, columns]}}'
        )
    if differ == [1] and role != "stem":
        return "other input channels are a stem's: if this is the first layer, name it with stem="
    if differ == [0] and role == "head":
        return 'give both label lists (source_labels=, labels=) to carry classes over, or allow_fresh="head"'
    if differ == [0] and len(shape) <= 4:
        return "other rows are a head's: if this layer gives the classes, name it with head="
    return None
