"""Models and weights become files: written whole or not at all, tensor by tensor."""

from torchgraft.model_info import DESCRIPTION_KEY
from torchgraft.saving.converting import convert
from torchgraft.saving.description import DESCRIPTION_VERSION
from torchgraft.saving.file_sizes import size_in_bytes
from torchgraft.saving.models import save
from torchgraft.saving.weights_folder import DESCRIPTION_FILE, INDEX_FILE, WEIGHTS_FILE

__all__ = [
    "DESCRIPTION_FILE",
    "DESCRIPTION_KEY",
    "DESCRIPTION_VERSION",
    "INDEX_FILE",
    "WEIGHTS_FILE",
    "convert",
    "save",
    "size_in_bytes",
]
