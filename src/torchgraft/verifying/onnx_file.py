"""An ONNX file of the source, run by onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import torch

from torchgraft.checkpoint import Checkpoint
from torchgraft.errors import DataError, MissingDependencyError

__all__ = ["OnnxFile"]

_DTYPES = {
    "tensor(float)": torch.float32, "tensor(double)": torch.float64, "tensor(float16)": torch.float16,
    "tensor(int64)": torch.int64, "tensor(int32)": torch.int32, "tensor(uint8)": torch.uint8,
    "tensor(bool)": torch.bool,
}  # fmt: skip
_TOKENS = 16
_SIDE = 224


class OnnxFile:
    """A session; called as the model is, it gives the outputs by name."""

    def __init__(self, session: Any, name: str) -> None:
        self._session = session
        self.__name__ = name
        self._inputs: dict[str, Any] = {value.name: value for value in session.get_inputs()}
        self._outputs = [value.name for value in session.get_outputs()]

    @classmethod
    def of(cls, opened: Checkpoint) -> OnnxFile:
        """A session of a file that was opened, and so is what it says it is.

        Raises:
            DataError: onnxruntime refuses it.
            MissingDependencyError: onnxruntime is absent.
        """
        try:
            runtime = import_module("onnxruntime")
        except ImportError as error:
            raise MissingDependencyError(
                f"running an ONNX file needs onnxruntime, which is not installed ({error})",
                where=opened.name,
                hint="pip install 'torchgraft[onnx]'",
            ) from error
        if opened.path is None:
            raise DataError("an ONNX file is run from this machine", where=opened.name, hint="download it")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors alone: what it optimises concerns nobody
        try:
            session = runtime.InferenceSession(
                str(opened.path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no common class
            raise DataError(f"onnxruntime does not run it: {error}", where=opened.name) from error
        return cls(session, opened.name)

    def __call__(self, *arguments: object, **keywords: object) -> dict[str, np.ndarray[Any, Any]]:
        """Arguments in the order of the file's inputs, or by their names."""
        given = {**dict(zip(self._inputs, arguments, strict=False)), **keywords}
        if len(arguments) > len(self._inputs) or given.keys() != self._inputs.keys():
            raise DataError(
                f"the ONNX file takes {list(self._inputs)}, not {list(keywords) or len(arguments)}",
                where=self.__name__,
                hint="give a function that calls onnxruntime as reference, where the arguments differ",
            )
        feed = {name: self._array(name, value) for name, value in given.items()}
        return dict(zip(self._outputs, self._session.run(None, feed), strict=True))

    def _array(self, name: str, value: object) -> np.ndarray[Any, Any]:
        tensor = torch.as_tensor(value).detach().cpu()
        return tensor.to(_DTYPES.get(self._inputs[name].type, tensor.dtype)).numpy()

    def guesses(self) -> Iterator[object]:
        """An example of the sizes that the file gives; what it leaves open is guessed."""
        made: dict[str, torch.Tensor] = {}
        for name, value in self._inputs.items():
            dtype = _DTYPES.get(value.type)
            shape = [self._size(size, axis, len(value.shape)) for axis, size in enumerate(value.shape)]
            if dtype is None or None in shape:
                return
            made[name] = torch.ones([size or 1 for size in shape], dtype=dtype)
            if "type" in name:
                made[name].zero_()
        if made:
            yield made if len(made) > 1 else next(iter(made.values()))

    @staticmethod
    def _size(size: object, axis: int, dims: int) -> int | None:
        if isinstance(size, int) and size > 0:
            return size
        if axis == 0:
            return 1
        if dims == 4:
            return _SIDE if axis > 1 else None
        return _TOKENS

    def examples(self, of_model: Iterator[torch.Tensor]) -> Iterator[object]:
        """Its own guess first, then the model's."""
        yield from self.guesses()
        yield from of_model
