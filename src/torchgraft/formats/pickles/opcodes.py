"""The pickle's opcodes, as Python's `pickletools` documents them.

The few that most of a checkpoint consists of are in the machine's own loop; the others register
themselves in the table.
"""

from torchgraft.formats.pickles import object_opcodes, scalar_opcodes, stack_opcodes  # noqa: F401
from torchgraft.formats.pickles.opcode_table import HANDLERS

__all__ = ["HANDLERS"]
