"""The closed table of names that mean something; every other name is only a name."""

from __future__ import annotations

from torchgraft.formats.pickles.dtypes import is_dtype
from torchgraft.formats.pickles.numpy_types import NUMPY_TYPES
from torchgraft.formats.pickles.python_types import PYTHON_TYPES
from torchgraft.formats.pickles.torch_types import TORCH_TYPES
from torchgraft.formats.pickles.values import Global

__all__ = ["find_name"]

_MODULES_OF_OLD = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "UserDict": "collections",
    "torch.tensor": "torch._tensor",
}
"""Where Python 2 and old versions of PyTorch kept what has another address now."""

_KNOWN = {**PYTHON_TYPES, **NUMPY_TYPES, **TORCH_TYPES}


def find_name(module: str, name: str) -> object:
    """What a name from the file stands for: a dtype's name as a string, or a `Global`."""
    module = _MODULES_OF_OLD.get(module, module)
    dotted = f"{module}.{name}"
    if module == "torch" and is_dtype(name):
        return dotted
    return Global(dotted, _KNOWN.get(dotted))
