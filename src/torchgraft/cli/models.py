"""The model that an argument names: one built by name, or one that was saved in a folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["bare_model", "trained_model"]


def trained_model(
    name: str,
    *,
    weights: str,
    builder: str | None = None,
    seed: int = 0,
    in_channels: int | None = None,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    class_map: object = None,
    normalisation: object = None,
    in_mode: str = "repeat",
    modes: Mapping[str, object] | None = None,
    stem: str | None = None,
    head: str | None = None,
    vocabulary: int | None = None,
    tokens: Path | None = None,
    source_tokens: Path | None = None,
    pad_to_multiple: int | None = None,
    image_size: tuple[int, int] | None = None,
    for_training: bool = False,
) -> nn.Module:
    """A saved folder's model, or one that is built by name and given its weights; then adapted as asked.

    Args:
        name: A folder that `torchgraft.save` or `torchgraft.finetune` wrote, or what
            `torchgraft.create_model` takes.
        weights: `"DEFAULT"`, a path or URL, or `"none"`; of no matter for a folder.
        builder: What builds a folder's model, where that is the user's own code.
        seed: Of the layers that are new.
        in_channels: See `torchgraft.adapt`; likewise the arguments after it.
        for_training: Whether all its weights will be written to.
    """
    import torchgraft as tg
    from torchgraft.adapting import parse_in_mode

    _start(builder or name, seed)
    if Path(name).exists():
        model = tg.load(_of_run(Path(name)), builder=builder, for_training=for_training)
    else:
        given = None if weights.lower() == "none" else weights
        model = tg.create_model(name, weights=given, for_training=for_training)
    sizes = (
        in_channels,
        num_classes,
        labels,
        class_map,
        normalisation,
        vocabulary,
        tokens,
        pad_to_multiple,
        image_size,
    )
    if any(size is not None for size in sizes):
        tg.adapt(
            model,
            in_channels=in_channels,
            num_classes=num_classes,
            labels=labels,
            class_map=class_map,  # type: ignore[arg-type]  # checked there
            normalisation=normalisation,  # type: ignore[arg-type]  # likewise
            in_mode=parse_in_mode(in_mode),
            modes=modes,
            stem=stem,
            head=head,
            vocabulary=vocabulary,
            tokens=tokens,
            source_tokens=source_tokens,
            pad_to_multiple=pad_to_multiple,
            image_size=image_size,
        )
    return model


def bare_model(
    name: str, *, seed: int, in_channels: int | None, num_classes: int | None, labels: Sequence[str] | None
) -> nn.Module:
    """A model of this shape for weights to be put in; its own are random, by `seed`."""
    import torchgraft as tg

    _start(name, seed)
    return tg.create_model(
        name, weights=None, in_channels=in_channels, num_classes=num_classes, labels=labels
    )


def _of_run(path: Path) -> Path:
    """The model's folder within a run folder; any other path as it is."""
    return path / "model" if (path / "config.json").is_file() and (path / "model").is_dir() else path


def _start(name: str, seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    if ":" in name and (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(
            0, here
        )  # `module:callable` is looked up beside the user's files, as `python -m` does
