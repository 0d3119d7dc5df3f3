"""Tensors of one shape into another, in steps that can be shown, stored and, where possible, undone."""

from torchgraft.adapting.block import Block
from torchgraft.adapting.change import ANY_OP, Change
from torchgraft.adapting.class_map import ClassMap, class_count, class_names, map_classes
from torchgraft.adapting.copied_channels import CopiedChannels
from torchgraft.adapting.finding import find_ops, modes_of_ops, op_from_json
from torchgraft.adapting.in_mode import InMode, parse_in_mode
from torchgraft.adapting.inflated import Deflated, Inflated
from torchgraft.adapting.input_channels import InputChannels
from torchgraft.adapting.input_layout import InputLayout
from torchgraft.adapting.merged_rows import MergedRows
from torchgraft.adapting.modes import Moded, effects, with_mode
from torchgraft.adapting.ops import Op, Role
from torchgraft.adapting.patch_kernel import PatchKernel, PatchKernelMode
from torchgraft.adapting.permuted import Permuted
from torchgraft.adapting.pointwise import Pointwise
from torchgraft.adapting.positions import PositionMode, Positions
from torchgraft.adapting.relative_positions import RelativePositionMode, RelativePositions
from torchgraft.adapting.reshaped import Reshaped
from torchgraft.adapting.row_blocks import RowBlocks
from torchgraft.adapting.row_map import RowMap, match_labels
from torchgraft.adapting.rows import Rows
from torchgraft.adapting.sine_positions import SinePositions
from torchgraft.adapting.text_positions import TextPositionMode, TextPositions
from torchgraft.adapting.token_map import match_tokens
from torchgraft.adapting.token_rows import VocabularyMode
from torchgraft.adapting.vocabulary import Vocabulary

__all__ = [
    "ANY_OP",
    "Block",
    "Change",
    "ClassMap",
    "CopiedChannels",
    "Deflated",
    "InMode",
    "Inflated",
    "InputChannels",
    "InputLayout",
    "MergedRows",
    "Moded",
    "Op",
    "PatchKernel",
    "PatchKernelMode",
    "Permuted",
    "Pointwise",
    "PositionMode",
    "Positions",
    "RelativePositionMode",
    "RelativePositions",
    "Reshaped",
    "Role",
    "RowBlocks",
    "RowMap",
    "Rows",
    "SinePositions",
    "TextPositionMode",
    "TextPositions",
    "Vocabulary",
    "VocabularyMode",
    "class_count",
    "class_names",
    "effects",
    "find_ops",
    "map_classes",
    "match_labels",
    "match_tokens",
    "modes_of_ops",
    "op_from_json",
    "parse_in_mode",
    "with_mode",
]
