"""What a model's head is given for each image: computed once, kept in memory and, if wanted, in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchgraft.errors import TrainingError
from torchgraft.finetuning.events import Event
from torchgraft.finetuning.heads.feature_cache import FeatureCache, fingerprint
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.inputs.batches import Inputs, batches
from torchgraft.finetuning.job import Job
from torchgraft.finetuning.memory_layout import channels_last
from torchgraft.finetuning.outputs import eval_mode, logits_of
from torchgraft.finetuning.scoring import score

__all__ = ["features_of", "head_is_last"]


def features_of(job: Job, head: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The head's inputs (images, features), float32 on the CPU, for `job.train` and `job.val`.

    Raises:
        TrainingError: They are not finite numbers.
    """
    count = len(job.train)
    both = replace(
        job.train,
        items=[*job.train.items, *job.val.items],
        labels=job.train.labels + job.val.labels,
        names=job.train.names + job.val.names,
        groups=(),
    )
    if job.feature_cache is None:
        features = _compute(job, head, both)
    else:
        features = _cached(job, head, both, job.feature_cache)
    if not torch.isfinite(features).all():
        raise TrainingError(
            "the model's features are not finite numbers",
            hint="check that the weights were loaded and that preprocessing suits them",
        )
    return features[:count], features[count:]


def head_is_last(job: Job, head: str) -> bool:
    """Whether the model's output is nothing but this head's: linear, called once on a vector an image.

    Asked of the model itself, by running two images through it.
    """
    layer = job.model.get_submodule(head)
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        return False
    seen: list[tuple[Any, ...]] = []
    inputs = Inputs(job.val, job.preprocessing)
    sample = torch.stack([inputs[index][0] for index in range(min(2, len(inputs)))])
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args))
    try:
        with eval_mode(job.model), torch.inference_mode():
            logits = logits_of(job.model(sample.to(job.engine.device)))
            if len(seen) != 1 or len(seen[0]) != 1 or seen[0][0].numel() != len(sample) * _width(layer):
                return False
            alone = nn.functional.linear(seen[0][0].flatten(1), layer.weight.flatten(1), layer.bias)
    finally:
        handle.remove()
    return alone.shape == logits.shape and torch.allclose(alone, logits, rtol=1e-4, atol=1e-5, equal_nan=True)


def _width(layer: nn.Linear | nn.Conv2d) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.weight[0].numel()


def _compute(job: Job, head: str, images: Images) -> torch.Tensor:
    loader = batches(
        Inputs(images, job.preprocessing), batch_size=max(64, job.batch_size), workers=job.workers
    )
    total = len(images)
    with _captured(job.model.get_submodule(head)) as seen, channels_last(job.model):
        return score(
            job.model,
            job.engine.loader(loader),
            lambda _output, _targets: seen.pop().flatten(1),
            device=job.engine.device,
            gather=job.engine.gather,
            progress=lambda done: job.emit(Event("features", min(done, total), total)),
        )


def _cached(job: Job, head: str, images: Images, folder: Path) -> torch.Tensor:
    """What is in the folder, and what was not, computed. Only the first of several processes looks there."""
    kept: list[tuple[FeatureCache, list[bytes]]] = []

    def missing_ones() -> list[int]:
        cache = FeatureCache(folder, _model_key(job, head))
        prints = [fingerprint(images, index, job.preprocessing.channels) for index in range(len(images))]
        kept.append((cache, prints))
        return cache.missing(prints)

    missing = job.engine.first(missing_ones)
    computed = _compute(job, head, images.subset(missing)) if missing else None
    found = {}
    for cache, prints in kept:
        if computed is not None:
            cache.add([prints[index] for index in missing], computed, write=True)
        found["features"] = cache.rows(prints)
    return job.engine.from_first(found)["features"]


@contextmanager
def _captured(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collects the layer's inputs."""
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        yield seen
    finally:
        handle.remove()


def _model_key(job: Job, head: str) -> str:
    """A hash of all that the features depend on but the image: structure, weights, preprocessing.

    The head's own weights are left out, so that runs with other seeds and classes find them too.
    """
    digest = hashlib.sha256(f"1\0{head}\0".encode())
    digest.update(json.dumps(job.preprocessing.to_json(), sort_keys=True).encode())
    for name, module in job.model.named_modules():
        if name != head and not list(module.children()):
            digest.update(f"{name}\0{module!r}\0".encode())
    for name, tensor in job.model.state_dict().items():
        if not name.startswith(f"{head}."):
            flat = tensor.detach().cpu().contiguous().as_strided((tensor.numel(),), (1,))
            digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
            digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()[:32]
