"""Pickles as data: an opcode machine of our own, and a closed table of the types it gives meaning to.

Nothing that a pickle names is imported or called. A name in the table (`python_types.py`,
`numpy_types.py`, `torch_types.py`) is acted out on plain data; any other becomes a `Placeholder`.
"""

from torchgraft.formats.pickles import opcodes  # noqa: F401 (now, not when the first pickle is read)
from torchgraft.formats.pickles.machine import read_pickle

__all__ = ["read_pickle"]
