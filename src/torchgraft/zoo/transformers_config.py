"""A model of transformers from the contents of its `config.json`: only classes of transformers itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from torch import nn

from torchgraft.errors import MissingDependencyError, ModelError

__all__ = ["build_from_config", "library_renames", "transformers_package"]

_NOT_FOR_BUILDING = ("auto_map", "quantization_config", "_name_or_path", "_commit_hash")
"""Code of the repository's, which is not run; how its weights were packed, which they are not afterwards."""


def build_from_config(config: Mapping[str, Any], changes: Mapping[str, Any], *, where: str) -> nn.Module:
    """The class that the config's `architectures` names, in the dtype that the config says.

    Args:
        config: What `config.json` holds.
        changes: Fields to be set differently.
        where: The model's name, for messages.

    Raises:
        MissingDependencyError: transformers is not installed, or something that this model needs.
        ModelError: It names no class of transformers, or can't be built so.
    """
    transformers = transformers_package()
    kind = config.get("model_type")
    plain = {key: value for key, value in config.items() if key not in _NOT_FOR_BUILDING}
    if unknown := [key for key in changes if key not in plain and not _is_field(transformers, kind, key)]:
        raise ModelError(f"its config has no {', '.join(unknown)}", where=where)
    try:
        if not isinstance(kind, str):
            raise KeyError(kind)
        described = transformers.CONFIG_MAPPING[kind].from_dict({**plain, **changes})
    except KeyError as error:
        raise ModelError(
            f"its kind of model, {kind!r}, is unknown to transformers {transformers.__version__}",
            where=where,
            hint="code that a repository brings is not run; update transformers, or build the model "
            "yourself and graft its weights",
        ) from error
    except Exception as error:  # a config's own checks raise whatever they like
        raise ModelError(f"its config.json is not right: {error}", where=where) from error
    named = config.get("architectures")
    architecture = named[0] if isinstance(named, list) and named else None
    built_by = _class(transformers, architecture, where) if architecture is not None else None
    try:
        if built_by is None:
            return cast(nn.Module, transformers.AutoModel.from_config(described, trust_remote_code=False))
        return cast(nn.Module, built_by._from_config(described))  # noqa: SLF001 (as its Auto classes do)
    except ImportError as error:
        raise MissingDependencyError(f"{where} needs a package that is absent: {error}") from error
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ModelError(f"can't be built: {error}", where=where) from error


def transformers_package() -> Any:
    """The library.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            "transformers is not installed", hint="pip install 'torchgraft[hf]'"
        ) from error
    return transformers


def library_renames(config: Mapping[str, Any]) -> tuple[tuple[re.Pattern[str], str], ...]:
    """How transformers calls what a published file calls otherwise: its own rules for this kind of model.

    Without them, two layers of one shape under foreign names (`fc11` and `fc12` for `up_proj` and
    `gate_proj`) could only be told by their order. Older versions have no such list.
    """
    try:
        rules = import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping(
            config.get("model_type")
        )
        found = [
            (re.compile(rule.source_patterns[0]), rule.target_patterns[0])
            for rule in rules or ()
            if type(rule).__name__ == "WeightRenaming"
            and len(rule.source_patterns) == len(rule.target_patterns) == 1
        ]
    except (ImportError, AttributeError, TypeError, KeyError, re.error):
        return ()
    return tuple(found)


def _is_field(transformers: Any, kind: object, key: str) -> bool:
    """Whether a config of this kind has such a field, which `config.json` leaves out at its usual value."""
    try:
        return hasattr(transformers.CONFIG_MAPPING[kind](), key)
    except Exception:  # an unknown kind is told by the caller; some configs can't be made without arguments
        return True


def _class(transformers: Any, architecture: object, where: str) -> Any:
    found = getattr(transformers, architecture, None) if isinstance(architecture, str) else None
    if not isinstance(found, type) or not issubclass(found, transformers.PreTrainedModel):
        raise ModelError(
            f"its config names {architecture!r}, no model of transformers {transformers.__version__}",
            where=where,
            hint="code that a repository brings is not run; build the model yourself and graft its weights",
        )
    return found
