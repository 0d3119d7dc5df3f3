"""Models and weights become files: written whole or not at all, tensor by tensor."""

from torchgraft.saving.converting import convert
from torchgraft.saving.file_sizes import size_in_bytes
from torchgraft.saving.models import (
    DESCRIPTION_FILE,
    DESCRIPTION_KEY,
    DESCRIPTION_VERSION,
    WEIGHTS_FILE,
    save,
)

__all__ = [
    "DESCRIPTION_FILE",
    "DESCRIPTION_KEY",
    "DESCRIPTION_VERSION",
    "WEIGHTS_FILE",
    "convert",
    "save",
    "size_in_bytes",
]
