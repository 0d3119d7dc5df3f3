"""What fine-tuning needs beyond torchgraft's own dependencies."""

from __future__ import annotations

from importlib import import_module

from torchgraft.errors import MissingDependencyError

__all__ = ["require"]

_PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn"}
_IN_NO_EXTRA = {"datasets", "tifffile"}
"""Only some data needs these."""
_EXTRAS = {"peft": "lora"}
"""All others are in `train`."""


def require(*modules: str) -> None:
    """Make sure that these modules import.

    Raises:
        MissingDependencyError: One doesn't; the hint is the command that brings it.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise MissingDependencyError(
                f"fine-tuning needs {_PACKAGES.get(module, module)}, which is not installed ({error})",
                hint=f"pip install {module}"
                if module in _IN_NO_EXTRA
                else f"pip install 'torchgraft[{_EXTRAS.get(module, 'train')}]'",
            ) from error
