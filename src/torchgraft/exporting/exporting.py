"""`export`: a model in the form that another program reads, checked before it is put in place."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from torchgraft.errors import SaveError
from torchgraft.exporting.card import card_text, export_card
from torchgraft.exporting.result import Exported
from torchgraft.exporting.run_metrics import read_run
from torchgraft.exporting.state_dict_file import export_state_dict
from torchgraft.exporting.timm_folder import export_timm, is_timm
from torchgraft.exporting.traced_files import export_onnx, export_program
from torchgraft.exporting.transformers_folder import export_transformers, is_transformers

if TYPE_CHECKING:
    from torchgraft.planning import Plan

__all__ = ["FORMATS", "export"]

FORMATS = ("timm", "transformers", "torchvision", "onnx", "torch.export", "card")
"""What `format` may be."""

_BY_ENDING = {
    ".pth": "torchvision", ".pt": "torchvision", ".bin": "torchvision",
    ".onnx": "onnx", ".pt2": "torch.export", ".md": "card",
}  # fmt: skip


def export(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 (the word for it)
    inputs: object = None,
    tolerance: float = 1e-4,
    hash_name: bool = False,
    opset: int | None = None,
    plan: Plan | None = None,
    run: str | os.PathLike[str] | None = None,
    card: Mapping[str, object] | None = None,
) -> Exported:
    """Write a model in the form that another program reads, whole or not at all, once it has been checked.

    | `format` | what is written | what is checked first |
    |---|---|---|
    | `"timm"` | the hub's folder: weights, `config.json`, `README.md` | timm builds the same model from it |
    | `"transformers"` | `save_pretrained`'s folder, and `README.md` | `from_pretrained`, likewise |
    | `"torchvision"` | a state dict in a `.pth` file | |
    | `"onnx"` | an ONNX file for batches of any size | the outputs that onnxruntime gives with it |
    | `"torch.export"` | a `.pt2` file, likewise | the outputs of what is read back |
    | `"card"` | a model card, `README.md` | |

    "The same model" means equal tensors and equal outputs, bit for bit. ONNX and `.pt2` files hold class
    names and preprocessing in their metadata. The model is left as it was.

    Args:
        model: Any module; for `"timm"` and `"transformers"` one of theirs, adapted or not.
        path: The file or folder. A folder of an earlier export is replaced as a whole.
        format: By default what the name's ending says; for a folder, the library that built the model.
        inputs: What the model takes: a tensor, a tuple of arguments, a dict of keyword arguments, or a list
            of these. Guessed by default.
        tolerance: How much the outputs of ONNX and `torch.export` may differ, in proportion to the largest.
        hash_name: Put the first eight digits of the file's SHA-256 into the name of a `.pth` file, as
            torchvision does (`resnet18-f37072fd.pth`): `torch.hub` and torchgraft check downloads by them.
        opset: Of ONNX; by default the exporter's own.
        plan: By which the weights came into the model, for the card.
        run: The folder of the run that trained it, for the card's metrics.
        card: Entries of the card's front matter: `license`, `base_model`, `datasets`, `tags`, … What is
            neither said nor known is left out; an unknown licence is called that.

    Raises:
        SaveError: It can't be written in this form, or what was read back is another model. Nothing was
            written, and what was there before still is.
        DataError: The model has to be run and it is not known what it takes.
        MissingDependencyError: The other library is absent.
    """
    target = Path(path)
    kind = format if format is not None else _format_of(model, target)
    if kind not in FORMATS:
        raise SaveError(
            f"there is no format {kind!r}", where=str(target), hint=f"one of {', '.join(FORMATS)}"
        )
    if not 0 <= tolerance < math.inf:
        raise SaveError(f"tolerance={tolerance} must not be negative", where=str(target))
    if hash_name and kind != "torchvision":
        raise SaveError(f"hash_name is for a state dict, not for {kind}", where=str(target))
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise SaveError(
            "it is on the meta device and has no values", where=str(target), hint="load weights into it first"
        )
    if kind == "torchvision":
        return export_state_dict(model, target, hash_name)
    if kind == "onnx":
        return export_onnx(model, target, inputs, tolerance, opset)
    if kind == "torch.export":
        return export_program(model, target, inputs, tolerance)
    name = target.resolve().parent.name if kind == "card" else target.name
    text = card_text(model, name, plan, read_run(run) if run is not None else None, card or {})
    if kind == "card":
        return export_card(text, target)
    return (export_timm if kind == "timm" else export_transformers)(model, target, inputs, text)


def _format_of(model: nn.Module, target: Path) -> str:
    known = _BY_ENDING.get(target.suffix)
    if known is not None:
        return known
    if is_timm(model):
        return "timm"
    if is_transformers(model):
        return "transformers"
    raise SaveError(
        f"neither the name nor {type(model).__name__} says which format",
        where=str(target),
        hint=f"end it in {', '.join(_BY_ENDING)}, or say format=",
    )
