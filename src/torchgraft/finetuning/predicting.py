"""`predict`: what a model says of some images."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from torchgraft.errors import DataError, FetchError
from torchgraft.finetuning.images.readable import Unreadable
from torchgraft.finetuning.predictions.asked import Asked, AskedImage, asked_images
from torchgraft.finetuning.predictions.prediction import AnyPrediction
from torchgraft.finetuning.requirements import require
from torchgraft.model_info import Preprocessing, info_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from torchgraft.finetuning.predictions.answering import Answering

__all__ = ["predict", "predict_iter", "prepared"]

_log = logging.getLogger(__name__)


def predict(
    model: nn.Module,
    images: Asked,
    *,
    top: int = 5,
    threshold: float = 0.5,
    task: str | None = None,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 32,
    workers: int = 0,
    unreadable: Unreadable = "error",
) -> list[Any]:
    """What the model says of each image, in the order given; a folder's and a pattern's sorted by path.

    Args:
        model: Runs where it is, in evaluation mode, and is left in the mode it was in.
        images: Paths, folders (with all that is under them), patterns such as `"photos/**/*.jpg"`, addresses
            (`https://…`, `s3://…`), PIL images, arrays or tensors; one or several, also from a generator.
        top: How many classes to give, the most probable first; fewer if the model has fewer.
        threshold: For a model of several classes an image: from which probability to give a class.
        task: What its outputs are, as for `finetune`; `None`: as the model remembers, else by their shape.
        preprocessing: How an image becomes an input, if not as the model remembers.
        batch_size: Images at a time.
        workers: Threads that read images meanwhile.
        unreadable: `"skip"` leaves out images that can't be read; each is named in a warning.

    Returns:
        A `Prediction` for each image; a `LabelsPrediction`, `NumbersPrediction` or `MaskPrediction` by models
        of other tasks.

    Raises:
        DataError: There is no image, or one can't be read; it is named.
        FetchError: One can't be fetched from its address.
        TrainingError: The model's outputs are none of this task.
    """
    return list(
        predict_iter(
            model,
            images,
            top=top,
            threshold=threshold,
            task=task,
            preprocessing=preprocessing,
            batch_size=batch_size,
            workers=workers,
            unreadable=unreadable,
        )
    )


def predict_iter(
    model: nn.Module,
    images: Asked,
    *,
    top: int = 5,
    threshold: float = 0.5,
    task: str | None = None,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 32,
    workers: int = 0,
    unreadable: Unreadable = "error",
) -> Iterator[Any]:
    """The same, one image after the other: no more than a few batches of images are in memory at a time.

    Arguments and errors as for `predict`.
    """
    if isinstance(top, bool) or top < 1:
        raise DataError(f"top={top} is not a number of classes")
    if not 0 <= threshold <= 1:
        raise DataError(f"threshold={threshold} is not a probability")
    if batch_size < 1 or workers < 0:
        raise DataError(f"batch_size={batch_size} or workers={workers} is not a number of images or threads")
    if unreadable not in ("error", "skip"):
        raise DataError(f"unreadable={unreadable!r} is neither 'error' nor 'skip'")
    require("PIL")
    from torchgraft.finetuning.predictions.answering import Answering
    from torchgraft.finetuning.scoring import device_of
    from torchgraft.finetuning.subject import labels_of, preprocessing_of, task_by_outputs

    asked = _some(images)
    how = preprocessing_of(model, preprocessing)
    answering = Answering(
        model,
        task or info_of(model).task or task_by_outputs(model, how),
        how,
        lambda outputs: labels_of(model, outputs),
        device_of(model),
        batch_size,
        top,
        threshold,
    )
    return _answers(answering, asked, workers, unreadable)


def prepared(
    model: nn.Module, images: Asked, *, preprocessing: Preprocessing | None = None, batch_size: int = 32
) -> Iterator[torch.Tensor]:
    """The inputs that `predict` gives to the model, batch by batch; arguments and errors as there."""
    require("PIL")
    import torch

    from torchgraft.finetuning.inputs.input_tensor import evaluation_input
    from torchgraft.finetuning.subject import preprocessing_of

    asked = _some(images)
    how = preprocessing_of(model, preprocessing)
    while batch := list(islice(asked, batch_size)):
        yield torch.stack([evaluation_input(one.picture(how.channels), how) for one in batch])


def _some(images: Asked) -> Iterator[AskedImage]:
    """The same as `asked_images`, which there must be before anything costly begins."""
    asked = asked_images(images)
    return chain([next(asked)], asked)


def _answers(
    answering: Answering, asked: Iterator[AskedImage], workers: int, unreadable: Unreadable
) -> Iterator[AnyPrediction]:
    import torch

    from torchgraft.finetuning.outputs import eval_mode

    with closing(_read(answering, asked, workers, unreadable)) as found:
        while batch := list(islice(found, answering.batch_size)):
            # Around each batch, not around the loop: between two answers the caller's own code runs.
            with eval_mode(answering.model), torch.inference_mode():
                answers = answering.answers([name for name, _ in batch], [item for _, item in batch])
            yield from answers


def _read(
    answering: Answering, asked: Iterator[AskedImage], workers: int, unreadable: Unreadable
) -> Generator[tuple[str, Any], None, None]:
    """Name and input of each image that can be read; with threads, up to two batches ahead."""

    def read(one: AskedImage) -> tuple[str, Any] | Exception:
        try:
            return one.name, answering.prepared(one.picture(answering.how.channels))
        except (DataError, FetchError) as error:
            return error

    def checked(found: tuple[str, Any] | Exception) -> Iterator[tuple[str, Any]]:
        if not isinstance(found, Exception):
            yield found
        elif unreadable == "error":
            raise found
        else:
            _log.warning("skipped: %s", found)

    if workers == 0:
        for one in asked:
            yield from checked(read(one))
        return
    ahead: deque[Future[tuple[str, Any] | Exception]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="torchgraft-read") as threads:
        try:
            for one in asked:
                ahead.append(threads.submit(read, one))
                if len(ahead) >= 2 * answering.batch_size:
                    yield from checked(ahead.popleft().result())
            while ahead:
                yield from checked(ahead.popleft().result())
        finally:
            for future in ahead:
                future.cancel()
