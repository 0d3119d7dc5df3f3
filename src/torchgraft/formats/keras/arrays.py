"""Weights of Keras 3 in NumPy's `.npz`, which it writes when it is asked to, or has no h5py.

An entry for each layer is an array of one object: a pickled dict of the layer's variables by number, arrays
or objects of Keras. NumPy unpickles no such thing by default, so that Keras itself can't read these files
back; here they are read as data.
"""

from __future__ import annotations

from torchgraft.errors import CorruptCheckpointError
from torchgraft.formats.archives.zip_directory import Entry, read_directory
from torchgraft.formats.container import Placeholder
from torchgraft.formats.hdf5 import Dataset, Group
from torchgraft.formats.keras.entry_file import FREELY_INFLATED, entry_file
from torchgraft.formats.numpy.npy_header import read_header
from torchgraft.formats.pickles import read_pickle
from torchgraft.formats.pickles.numpy_types import NUMPY_ARRAY
from torchgraft.storage.byte_file import ByteFile
from torchgraft.tensors import TensorRef

__all__ = ["read_arrays"]

_SUFFIX, _ROOT, _VARIABLES = ".npy", "__root__", "vars"
_MAX_DEPTH = 100


def read_arrays(file: ByteFile) -> Group:
    """The weights as groups and datasets, as an HDF5 file of Keras 3 has them.

    Raises:
        CorruptCheckpointError: The archive is damaged, or not what Keras writes.
        UnsafeCheckpointError: It is not to be trusted.
    """
    root = Group("")
    named: list[tuple[list[str], list[str]]] = []
    for entry in read_directory(file).values():
        where = f"{file.name}: {entry.name[:200]}"
        path = entry.name.removesuffix(_SUFFIX)
        steps = [] if path == _ROOT else path.split("/")
        if path == entry.name or len(steps) > _MAX_DEPTH or "" in steps or _VARIABLES in steps:
            raise _unknown("this is no layer's entry", where)
        group = root
        for step in steps:
            inner = group.members.setdefault(step, Group(f"{group.path}/{step}" if group.path else step))
            assert isinstance(inner, Group)  # datasets are in groups of variables alone
            group = inner
        if _VARIABLES in group.members:
            raise _unknown("this layer is there twice", where)
        found = _variables(file, entry, where)
        variables = Group(f"{group.path}/{_VARIABLES}" if group.path else _VARIABLES)
        named.append((steps, _layer_names(next(iter(found.values()), None))))
        for number, variable in found.items():
            value = _value(variable)
            tensor = value if isinstance(value, TensorRef) else None
            variables.members[number] = Dataset(f"{variables.path}/{number}", _described(value), tensor)
        group.members[_VARIABLES] = variables
    for steps, names in named:
        _give_names(root, steps, names)
    return root


def _variables(file: ByteFile, entry: Entry, where: str) -> dict[str, object]:
    inner = entry_file(file, entry, FREELY_INFLATED)
    header = read_header(lambda length: inner.data[:length], where)
    if header.descr != "|O" or header.shape != ():
        raise _unknown("it is not an array of one object", where)
    tree, end = read_pickle(inner.data, where=where, start=header.size, file=inner)
    match tree:
        case Placeholder(class_name=name, state=(*_, [dict(found)])) if (
            name == NUMPY_ARRAY and end == inner.size
        ):
            if all(isinstance(number, str) and "/" not in number for number in found):
                return found
    raise _unknown("the object in it is not a dict of variables", where)


def _layer_names(variable: object) -> list[str]:
    """Names of the layers that a variable is in, where it is pickled as an object: `outer/layer/kernel`."""
    match variable:
        case Placeholder(state={"_path": str(path)}):
            return path[-1000:].split("/")[:-1]
    return []


def _give_names(root: Group, steps: list[str], names: list[str]) -> None:
    """Tell each group on a path the name of its layer, as the attribute that it has in an HDF5 file.

    Lists of layers, which have no variables of their own, are no part of the names.
    """
    above = [root]
    for step in steps:
        inner = above[-1].members[step]
        assert isinstance(inner, Group)
        above.append(inner)
    layers = [own for group in above if isinstance(own := group.members.get(_VARIABLES), Group)]
    for own, name in zip(reversed(layers), reversed(names), strict=False):
        own.attributes.setdefault("name", name)


def _value(variable: object) -> object:
    """What a variable holds, which may be pickled as an object of Keras or as the array itself."""
    match variable:
        case Placeholder(state={"_value": TensorRef() as value}):
            return value
    return variable


def _described(value: object) -> str:
    return (
        f"{value.dtype} {list(value.shape)}" if isinstance(value, TensorRef) else "a value that is no tensor"
    )


def _unknown(what: str, where: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{what}, so the archive is not what Keras writes",
        where=where,
        hint="save the model again, with h5py installed",
    )
