"""Tensors of one shape into another, in steps that can be shown, stored and, where possible, undone."""

from torchgraft.adapting.block import Block
from torchgraft.adapting.change import ANY_OP, Change
from torchgraft.adapting.finding import find_ops, modes_of_ops, op_from_json
from torchgraft.adapting.in_mode import InMode, parse_in_mode
from torchgraft.adapting.input_channels import InputChannels
from torchgraft.adapting.modes import Moded, effects, with_mode
from torchgraft.adapting.ops import Op, Role
from torchgraft.adapting.permuted import Permuted
from torchgraft.adapting.pointwise import Pointwise
from torchgraft.adapting.reshaped import Reshaped
from torchgraft.adapting.row_map import RowMap, match_labels
from torchgraft.adapting.rows import Rows

__all__ = [
    "ANY_OP",
    "Block",
    "Change",
    "InMode",
    "InputChannels",
    "Moded",
    "Op",
    "Permuted",
    "Pointwise",
    "Reshaped",
    "Role",
    "RowMap",
    "Rows",
    "effects",
    "find_ops",
    "match_labels",
    "modes_of_ops",
    "op_from_json",
    "parse_in_mode",
    "with_mode",
]
