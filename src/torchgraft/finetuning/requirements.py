"""What fine-tuning needs beyond torchgraft's own dependencies."""

from __future__ import annotations

from importlib import import_module

from torchgraft.errors import MissingDependencyError

__all__ = ["require"]

_PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn"}


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
                hint="pip install 'torchgraft[train]'",
            ) from error
