"""TorchScript archives (`torch.jit.save`): the modules' tensors, without running or compiling their code.

The objects are in `data.pkl`; which of their attributes are parameters and buffers, the code says in lists
at the beginning of each class, which are read here as text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torchgraft.errors import CorruptCheckpointError, UnsafeCheckpointError
from torchgraft.formats.archives.zip_directory import Entry
from torchgraft.formats.container import Container, Placeholder, ZipFormat
from torchgraft.formats.torch.script_classes import ScriptClass, read_classes
from torchgraft.formats.torch.zip_file import find_root, read_archive_pickle
from torchgraft.storage.byte_file import ByteFile
from torchgraft.tensors import TensorRef

__all__ = ["TORCHSCRIPT"]

_MAX_CODE = 1 << 25
_HONEST_RATIO = 64


def _recognise(names: Collection[str]) -> bool:
    return any(
        f"{name.removesuffix('constants.pkl')}data.pkl" in names
        for name in names
        if name == "constants.pkl" or (name.endswith("/constants.pkl") and name.count("/") == 1)
    )


def _read(file: ByteFile, entries: Mapping[str, Entry]) -> Container:
    root = find_root(entries, file.name)
    tree = read_archive_pickle(file, entries, root, "data")
    constants = read_archive_pickle(file, entries, root, "constants")
    named = {
        f"c{number}": constant
        for number, constant in enumerate(constants if isinstance(constants, tuple) else ())
        if isinstance(constant, TensorRef)
    }
    modules = _Modules(file, entries, f"{root}code/")
    modules.restore(tree)
    metadata = {"constants": f"{len(named)} tensors in the code"} if named else {}
    if named and not modules.tensors:  # torch.jit.freeze folds all weights into the code
        tree = {"module": tree, "constants": named}
    return Container(file.name, file.path, "torchscript", tree, metadata)


class _Modules:
    """Gives the objects that are modules the form in which `torch.save` pickles modules.

    Attributes:
        tensors: How many parameters and buffers there are.
    """

    def __init__(self, file: ByteFile, entries: Mapping[str, Entry], folder: str) -> None:
        self._file = file
        self._entries = entries
        self._folder = folder
        self._sources: dict[str, dict[str, ScriptClass]] = {}
        self._code_left = _MAX_CODE
        self.tensors = 0

    def restore(self, tree: object) -> None:
        """Do so with every module in a tree, each once."""
        seen: set[int] = set()
        stack = [tree]
        modules: list[tuple[Placeholder, ScriptClass]] = []
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, dict):
                stack.extend(node.values())
            elif isinstance(node, (list, tuple)):
                stack.extend(node)
            elif isinstance(node, Placeholder):
                stack += [node.state, node.args, node.items]
                found = self._class(node.class_name)
                if found is not None and found.is_module and isinstance(node.state, dict):
                    modules.append((node, found))
        inner = {id(node) for node, _ in modules}
        for node, found in modules:
            self._sort_attributes(node, found, inner)
        for node, _ in modules:
            node.class_name = _python_name(node.class_name)

    def _sort_attributes(self, node: Placeholder, found: ScriptClass, modules: set[int]) -> None:
        state = node.state
        assert isinstance(state, dict)
        parameters, buffers, children, rest = {}, {}, {}, {}
        for name, value in state.items():
            if name in found.parameters:
                parameters[name] = value
            elif found.is_buffer(name):
                buffers[name] = value
            elif id(value) in modules:
                children[name] = value
            else:
                rest[name] = value
        tensors = [*parameters.values(), *buffers.values()]
        self.tensors += sum(isinstance(value, TensorRef) for value in tensors)
        node.state = {**rest, "_parameters": parameters, "_buffers": buffers, "_modules": children}

    def _class(self, name: str) -> ScriptClass | None:
        """What the code says of a class: `__torch__.a.B` is in `code/__torch__/a.py`."""
        if not name.startswith("__torch__.") or name.startswith("__torch__.torch.classes."):
            return None  # the latter are objects of C++
        module, _, own = name.rpartition(".")
        entry = self._entries.get(f"{self._folder}{module.replace('.', '/')}.py")
        if entry is None:
            raise CorruptCheckpointError(
                f"the code of class {name[:200]!r} is missing", where=self._file.name
            )
        if module not in self._sources:
            self._code_left -= entry.size
            if self._code_left < 0 or entry.size > max(1 << 20, _HONEST_RATIO * entry.stored):
                raise UnsafeCheckpointError("it has more code than is read", where=self._file.name)
            self._sources[module] = read_classes(bytes(entry.view()).decode("utf-8", "replace"))
        if own not in self._sources[module]:
            raise CorruptCheckpointError(
                f"class {own[:200]!r} is not in it", where=f"{self._file.name}: {entry.name}"
            )
        return self._sources[module][own]


def _python_name(name: str) -> str:
    """`__torch__.torch.nn.modules.linear.___torch_mangle_3.Linear` as what it was in Python."""
    return ".".join(part for part in name.split(".")[1:] if not part.startswith("___torch_mangle_"))


TORCHSCRIPT = ZipFormat("torchscript", _recognise, _read)
