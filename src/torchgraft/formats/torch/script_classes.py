"""The classes in TorchScript code: which attributes are parameters or buffers, and of which type."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["ScriptClass", "read_classes"]

_CLASS = re.compile(r"class (\w+)\((\w*)\):")
_LIST = re.compile(r"  __(parameters|buffers)__ = \[(.*)\]")
_NAME = re.compile(r'"([^"\\]+)"')
_ATTRIBUTE = re.compile(r'  (?:(\w+) :|__annotations__\["([^"\\]+)"\] =) (.+)')


@dataclass(slots=True)
class ScriptClass:
    """What a class says of its attributes.

    Attributes:
        is_module: Whether it is an `nn.Module`.
        parameters: Names of its parameters.
        buffers: Names of its buffers; `None` where the archive is older than their list: any tensor then.
        types: The type of each attribute, as TorchScript writes it.
    """

    is_module: bool
    parameters: set[str] = field(default_factory=set)
    buffers: set[str] | None = None
    types: dict[str, str] = field(default_factory=dict)

    def is_buffer(self, name: object) -> bool:
        """Whether an attribute is a buffer; one that may be `None` is not, as PyTorch sees it."""
        return self.types.get(str(name)) == "Tensor" and (self.buffers is None or name in self.buffers)


def read_classes(source: str) -> dict[str, ScriptClass]:
    """Every class in a file of code, by its name."""
    classes: dict[str, ScriptClass] = {}
    current: ScriptClass | None = None
    for line in source.splitlines():
        if not line.startswith(" "):
            begins = _CLASS.match(line)
            current = ScriptClass(is_module=begins[2] == "Module") if begins else None
            if begins and current:
                classes[begins[1]] = current
        elif current is not None:
            if line.startswith("  def "):
                current = None  # attributes come before the methods
            elif names := _LIST.match(line):
                found = set(_NAME.findall(names[2]))
                if names[1] == "parameters":
                    current.parameters = found
                else:
                    current.buffers = found
            elif attribute := _ATTRIBUTE.match(line):
                current.types[attribute[1] or attribute[2]] = attribute[3]
    return classes
