"""A model pickled whole, as `torch.save(model, path)` does it: the way that needs its code again."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import nn

from torchgraft.errors import SaveError
from torchgraft.saving.targets import Kind, kind_of
from torchgraft.saving.torch_file import torch_save
from torchgraft.storage.atomic import atomic_file

__all__ = ["save_whole"]

_log = logging.getLogger(__name__)


def save_whole(source: object, target: Path) -> None:
    """Pickle a model into a `.pth` file, and warn of what that means.

    Raises:
        SaveError: It is no model, can't be pickled, or the file is of another kind. Nothing was written.
    """
    if not isinstance(source, nn.Module):
        raise SaveError("whole=True needs a model", where=str(target), hint="leave out whole=True")
    if kind_of(target) is not Kind.TORCH:
        raise SaveError(
            "a whole model is a pickle, and not safetensors", where=str(target), hint="end the name in .pth"
        )
    with atomic_file(target) as file:
        try:
            torch_save(source, file)
        except OSError:
            raise
        except Exception as error:  # what is pickled is the model's own code, which may raise anything
            raise SaveError(
                f"this model can't be pickled: {error}",
                where=str(target),
                hint="save its weights: leave out whole=True",
            ) from error
    _log.warning(
        "%s holds the whole model as a pickle: loading it takes the same code again (%s.%s), and runs "
        "whatever the file says; share the weights instead, without whole=True",
        target,
        type(source).__module__,
        type(source).__qualname__,
    )
