"""Containers: a file becomes plain data and named lazy tensors. A module for each, packed by family.

To add one, write a module that makes a `Format` (`container.py`) and add it to `FORMATS` in `reading.py`.
"""

from torchgraft.formats.container import Container, Placeholder
from torchgraft.formats.reading import read_container, read_opened

__all__ = ["Container", "Placeholder", "read_container", "read_opened"]
