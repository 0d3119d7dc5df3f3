"""Tables of relative positions: their windows, from how a run looks them up."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from torchgraft.adapting.places import Window
from torchgraft.anatomy.meta_graph import Node, shape_of_result

__all__ = ["window_of"]


def window_of(leaf: Node, alone: Sequence[Node], owner: nn.Module) -> Window | None:
    """The window of a table whose entries are looked up for all pairs of its tokens; `None` for others.

    Args:
        leaf: What stands for the table in the graph of a run.
        alone: The operations that depend on it only.
        owner: The module that holds it, which may tell rows from columns.
    """
    shape = tuple(leaf.variable.shape)
    said = getattr(owner, "window_size", None)
    known = tuple(said) if isinstance(said, tuple | list) and len(said) == 2 else None
    if len(shape) == 3:
        return Window(*known) if known and shape[1:] == Window(*known).offsets else None
    looked_up = [each for each in alone if each.name().startswith(("IndexBackward", "IndexSelectBackward"))]
    if len(shape) != 2 or not looked_up:
        return None
    side = math.isqrt(math.prod(shape_of_result(looked_up[0])) // shape[1])
    for extra in (0, 3):
        tokens = side - (1 if extra else 0)
        window = _sides(tokens, shape[0] - extra)
        if window is not None:
            rows, columns = known if known and sorted(known) == sorted(window) else window
            return Window(rows, columns, extra) if known or rows == columns else None
    return None


def _sides(tokens: int, offsets: int) -> tuple[int, int] | None:
    """h and w, of which hw = tokens and (2h − 1)(2w − 1) = offsets."""
    total, odd = divmod(4 * tokens + 1 - offsets, 2)  # h + w
    root = math.isqrt(max(total * total - 4 * tokens, 0))
    if odd or root * root != total * total - 4 * tokens or (total + root) % 2:
        return None
    rows, columns = (total - root) // 2, (total + root) // 2
    return (rows, columns) if rows > 0 and rows * columns == tokens else None
