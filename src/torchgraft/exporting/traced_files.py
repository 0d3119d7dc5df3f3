"""ONNX and `torch.export` files: the model as a graph that needs none of its code."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchgraft.errors import MissingDependencyError, SaveError
from torchgraft.exporting.examples import Call, call_of, drawn, of_batch
from torchgraft.exporting.facts import labels_of, preprocessing_of, sizes_of
from torchgraft.exporting.parity import Parity, outputs_agree
from torchgraft.exporting.quietly import quietly, without_cache
from torchgraft.exporting.result import Exported
from torchgraft.storage.atomic import atomic_file
from torchgraft.verifying.onnx_file import OnnxFile
from torchgraft.verifying.running import ready

__all__ = ["export_onnx", "export_program"]

_MOST_BYTES = (1 << 31) - (1 << 24)  # protobuf's limit, and some room
_BATCHES = (1, 2, 3)
_FIXED = "it takes batches of {} only: the model's code depends on the size ({})"


def export_onnx(
    model: nn.Module, path: Path, inputs: object, tolerance: float, opset: int | None
) -> Exported:
    """Write an ONNX file, once onnxruntime gives with it what the model gives.

    Raises:
        SaveError: It can't be exported, or the outputs differ by more than the tolerance.
        DataError: No input is known.
        MissingDependencyError: onnx, onnxscript or onnxruntime is absent.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise MissingDependencyError(
                f"exporting to ONNX needs {package}, which is not installed",
                where=str(path),
                hint="pip install 'torchgraft[onnx]'",
            )
    tensors = [value for value in model.state_dict().values() if isinstance(value, torch.Tensor)]
    if sum(tensor.nbytes for tensor in tensors) > _MOST_BYTES:
        raise SaveError(
            "it has more than 2 GB of weights, which one ONNX file can't hold",
            where=str(path),
            hint='export it as "torch.export", or in half precision: model.half()',
        )

    traced, examples, notes = _traced(model, path, inputs)
    try:
        with quietly():
            program = torch.onnx.export(traced, dynamo=True, opset_version=opset, verbose=False)
    except Exception as error:  # operators that ONNX lacks, or the exporter does
        raise SaveError(
            f"the graph can't be written as ONNX: {_first_line(error)}",
            where=str(path),
            hint='another opset may have what it needs: opset=20; or export it as "torch.export"',
        ) from error
    assert program is not None
    proto: Any = program.model_proto
    for key, text in _about(model).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text
    data: bytes = proto.SerializeToString()
    session = OnnxFile(_session(data, path), path.name)
    with without_cache(model):
        parity = outputs_agree(
            model, session.__call__, examples, tolerance, where=str(path), what="onnxruntime"
        )
    with atomic_file(path) as file:
        file.write(data)
    opsets = {each.domain: each.version for each in proto.opset_import}
    return Exported(
        path,
        "onnx",
        f"opset {opsets.get('', opset)}; {_tried(parity, examples)} (onnxruntime)",
        parity.relative,
        (*notes, *parity.notes),
    )


def export_program(model: nn.Module, path: Path, inputs: object, tolerance: float) -> Exported:
    """Write a `torch.export` file, once what is read back from its bytes gives what the model gives.

    Raises:
        SaveError: It can't be exported, or the outputs differ by more than the tolerance.
        DataError: No input is known.
    """

    program, examples, notes = _traced(model, path, inputs)
    buffer = io.BytesIO()
    with quietly():
        torch.export.save(program, buffer, extra_files=_about(model))
        buffer.seek(0)
        again = torch.export.load(buffer).module()
    what = "the program read back"
    with without_cache(model):
        parity = outputs_agree(
            model, lambda *a, **k: again(*a, **k), examples, tolerance, where=str(path), what=what
        )
    with atomic_file(path) as file:
        file.write(buffer.getbuffer())
    return Exported(path, "torch.export", _tried(parity, examples), parity.relative, (*notes, *parity.notes))


def _traced(
    model: nn.Module, path: Path, inputs: object
) -> tuple[torch.export.ExportedProgram, list[object], list[str]]:
    """The graph, for batches of any size if the model lets itself; inputs to compare it on; notes."""
    given = drawn(model, inputs)
    why = ""
    with ready(model), quietly(), without_cache(model):
        call = call_of(of_batch(given[0], 2))
        try:
            program = _graph(model, call, call.shapes(torch.export.Dim("batch", min=1)))
            examples = [of_batch(given[i % len(given)], size) for i, size in enumerate(_BATCHES)]
            return program, [*examples, *given] if inputs is not None else examples, []
        except Exception as error:  # exporters raise whatever the model's code makes of symbolic sizes
            why = _first_line(error)
        call = call_of(given[0])
        try:
            program = _graph(model, call, None)
        except Exception as error:
            raise SaveError(
                f"PyTorch can't turn {type(model).__name__} into a graph: {_first_line(error)}",
                where=str(path),
                hint="its forward depends on values as Python sees them; export the state dict instead: "
                'format="torchvision"',
            ) from error
    size = next((v.shape[0] for v in (*call.args, *call.kwargs.values()) if _has_batch(v)), 1)
    return program, given, [_FIXED.format(size, why)]


def _graph(model: nn.Module, call: Call, shapes: Any) -> torch.export.ExportedProgram:
    return torch.export.export(model, call.args, call.kwargs or None, dynamic_shapes=shapes)


def _has_batch(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 0


def _first_line(error: Exception) -> str:
    cause = error.__cause__ if type(error).__module__.startswith("torch.onnx") and error.__cause__ else error
    lines = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {lines[0][:200]}"


def _tried(parity: Parity, examples: list[object]) -> str:
    calls = [call_of(one) for one in examples]
    values = [value for call in calls for value in (*call.args, *call.kwargs.values())]
    sizes = {value.shape[0] for value in values if _has_batch(value)}
    return f"{parity}, in batches of {', '.join(map(str, sorted(sizes)))}" if sizes else str(parity)


def _about(model: nn.Module) -> dict[str, str]:
    """Class names and preprocessing as JSON texts, for the file's own metadata."""
    sizes = sizes_of(model)
    labels, preprocessing = labels_of(model, sizes.classes), preprocessing_of(model, sizes.channels)
    about: dict[str, str] = {}
    if labels is not None:
        about["labels"] = json.dumps(labels, ensure_ascii=False)
    if preprocessing is not None:
        about["preprocessing"] = json.dumps(preprocessing.to_json())
    return about


def _session(data: bytes, path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    try:
        return onnxruntime.InferenceSession(data, sess_options=options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class
        raise SaveError(
            f"onnxruntime does not run the graph: {_first_line(error)}",
            where=str(path),
            hint="try another opset, or a newer onnxruntime: pip install -U onnxruntime",
        ) from error
