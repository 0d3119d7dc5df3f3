"""`verify`: a model's outputs beside those of a reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress

import torch
from torch import nn

from torchgraft.anatomy.examining import shape_of
from torchgraft.anatomy.example_inputs import guesses
from torchgraft.errors import DataError
from torchgraft.verifying.differences import Apart, apart
from torchgraft.verifying.drawing import changed, redrawn, vocabulary
from torchgraft.verifying.onnx_file import OnnxFile
from torchgraft.verifying.outputs import paired
from torchgraft.verifying.references import Reference, input_list, reference_of
from torchgraft.verifying.result import LEAST_CHANGE, Verification
from torchgraft.verifying.running import Runs, named, outputs_of, ready, try_outputs

__all__ = ["verify"]

_Outputs = Mapping[str, torch.Tensor]


def verify(
    model: nn.Module,
    reference: object,
    *,
    inputs: object = None,
    tolerance: float = 1e-4,
    draws: int = 3,
) -> Verification:
    """Compare a model's outputs with those of a reference, on the same inputs.

    Two tensors agree if their largest difference is at most `tolerance` times the largest absolute value of
    the reference's. (`torch.testing.assert_close` compares each number with itself, and so fails on those
    near zero when two programs merely add in another order.) Infinities agree with themselves, NaN with
    nothing. It does not pass if another input changes the outputs by less than a thousandth, or by less than
    ten times the difference that was found, for then they show nothing.

    A result comes back either way, false as a condition if it did not pass; `.check()` raises, as
    `torch.testing` does. Both models run in evaluation mode without gradients, and are left as they were.

    Args:
        model: Any module.
        reference: A module, or a function that is called as the model is (for a model of another framework,
            say); saved outputs: a tensor, array or nested structure of them, or a path to a `.npy`, `.npz`,
            `.safetensors`, `.pt` or whatever else `torchgraft.open` reads; or a path to an ONNX file of the
            source, which onnxruntime runs. Nothing is unpickled.
        inputs: A tensor, a tuple of arguments, a dict of keyword arguments, or a path to a file of a tensor
            or of keyword arguments; a list of these for several inputs, with a list of saved outputs.
            Random inputs of a shape that both take if not given; saved outputs need theirs.
        tolerance: The largest relative difference that is allowed.
        draws: How many random inputs are tried.

    Raises:
        DataError: A model does not take the inputs, none could be guessed, or nothing says which outputs
            belong together.
        CheckpointError: The file with outputs or inputs can't be read.
        MissingDependencyError: The reference is an ONNX file and onnxruntime is absent.
    """
    if not 0 <= tolerance < math.inf or draws < 1:
        raise DataError(f"tolerance={tolerance} and draws={draws} must not be negative, draws not 0")
    source = reference_of(reference, isinstance(inputs, list))
    given = input_list(inputs)
    if source.runs is None and given is None:
        raise DataError(
            "saved outputs say nothing without the inputs that they were computed from",
            where=source.name,
            hint="inputs=…",
        )
    with ExitStack() as stack:
        for runs in (model, source.runs):
            if runs is not None:
                stack.enter_context(ready(runs))
        examples = _drawn(model, source, draws) if given is None else given
        mine = [outputs_of(model, example) for example in examples]
        theirs = _expected(source, examples)
        others = mine if given is None else [*mine, *_on_another(model, examples[0])]
    pairs, left = paired(dict(mine[0]), dict(theirs[0]))
    compared = [
        (one, apart(found[one], expected[other]))
        for found, expected in zip(mine, theirs, strict=True)
        for one, other in pairs.items()
        if one in found and other in expected
    ]
    return _result(
        named(model), source.name, tolerance, compared, len(examples), _sensitivity(others, pairs), left
    )


def _drawn(model: nn.Module, source: Reference, draws: int) -> list[object]:
    """Random inputs of the first shape that both take."""
    runs = source.runs
    assert runs is not None
    tokens = vocabulary(model, runs)
    failures: list[str] = []
    for example in runs.examples(guesses(model)) if isinstance(runs, OnnxFile) else guesses(model):
        first = redrawn(example, 0, tokens)
        try:
            try_outputs(model, first)
            try_outputs(runs, first)
        except Exception as error:  # somebody else's model may raise anything
            text = str(error).strip().splitlines() or [""]
            failures.append(f"{shape_of(first)}: {type(error).__name__}: {text[0][:200]}")
            continue
        return [first, *(redrawn(example, seed, tokens) for seed in range(1, draws))]
    raise DataError(
        "no input was found that both take; tried"
        + "".join(f"\n    {line}" for line in failures or ["nothing: there is no layer to guess from"]),
        where=f"{named(model)} and {source.name}",
        hint="inputs=…",
    )


def _expected(source: Reference, examples: Sequence[object]) -> list[dict[str, torch.Tensor]]:
    if source.runs is not None:
        return [outputs_of(source.runs, example) for example in examples]
    if len(source.saved) != len(examples):
        raise DataError(
            f"{len(examples)} inputs, but saved outputs of {len(source.saved)}", where=source.name
        )
    return [outputs_of(lambda saved=saved: saved, ()) for saved in source.saved]


def _on_another(model: Runs, example: object) -> Iterator[dict[str, torch.Tensor]]:
    """The outputs for the example with its numbers changed, if the model takes that."""
    other = changed(example)
    if other is not None:
        with suppress(Exception):  # then it is not known what the outputs depend on, which is said
            yield try_outputs(model, other)


def _sensitivity(outputs: Sequence[_Outputs], pairs: Mapping[str, str]) -> float | None:
    """The largest change from the first input's outputs to another's, in proportion."""
    changes = [
        apart(other[path], outputs[0][path]).relative
        for other in outputs[1:]
        for path in pairs
        if path in other and other[path].shape == outputs[0][path].shape
    ]
    return max(changes, default=None)


def _result(
    model: str,
    reference: str,
    tolerance: float,
    compared: Sequence[tuple[str, Apart]],
    inputs: int,
    sensitivity: float | None,
    left: tuple[str, ...],
) -> Verification:
    path, worst = max(compared, key=lambda entry: (entry[1].relative, entry[1].absolute))
    where = path + (f"[{', '.join(map(str, worst.index))}]" if worst.index else "")
    problem = ""
    if worst.problem:
        problem = f"of {where}, {worst.problem}"
    elif worst.relative > tolerance:
        problem = (
            f"they differ by up to {worst.absolute:.3g}, {worst.relative:.2g} relative (at {where}), "
            f"more than {tolerance:g}"
        )
    elif sensitivity is not None and sensitivity <= LEAST_CHANGE:
        problem = f"they agree, but hardly depend on the input ({sensitivity:.1e} relative): it shows nothing"
    elif sensitivity is not None and worst.relative > sensitivity / 10:
        problem = (
            f"they differ by up to {worst.relative:.2g} relative (at {where}), which is much beside the "
            f"{sensitivity:.2g} by which another input changes them"
        )
    return Verification(
        model=model,
        reference=reference,
        tolerance=tolerance,
        inputs=inputs,
        max_abs=max(entry.absolute for _, entry in compared),
        max_rel=worst.relative,
        where=where,
        sensitivity=sensitivity,
        compared=tuple(dict.fromkeys(path for path, _ in compared)),
        left_out=left,
        problem=problem,
    )
