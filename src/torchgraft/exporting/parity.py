"""Whether what was written is the model: its tensors bit for bit, its outputs on several inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from torchgraft.errors import DataError, SaveError
from torchgraft.verifying import verify

__all__ = ["Parity", "outputs_agree", "same_model"]


@dataclass(frozen=True, slots=True)
class Parity:
    """How well outputs agreed: the largest difference, absolute and in proportion; on how many inputs."""

    inputs: int
    absolute: float
    relative: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        times = "one input" if self.inputs == 1 else f"{self.inputs} inputs"
        if not self.absolute:
            return f"outputs are equal bit for bit on {times}"
        return f"outputs differ by at most {self.absolute:.2g} ({self.relative:.1e} relative) on {times}"


def outputs_agree(
    model: nn.Module, runs: Callable[..., object], inputs: object, tolerance: float, *, where: str, what: str
) -> Parity:
    """Run both on these inputs; random ones if there are none.

    Args:
        model: What is exported.
        runs: What would be written, read back.
        inputs: As of `torchgraft.verify`.
        tolerance: How large a relative difference may be.
        where: For messages; likewise `what`.

    Raises:
        SaveError: They differ by more.
        DataError: No input is known that both take.
    """
    found = verify(model, runs, inputs=inputs, tolerance=tolerance)
    if not found.max_rel <= tolerance:
        raise SaveError(
            f"the outputs of {what} differ by up to {found.max_abs:.3g} ({found.max_rel:.2g} relative, at "
            f"{found.where}), which is more than {tolerance:g}; nothing was written",
            where=where,
            hint="where that is near enough, say so: tolerance=…",
        )
    notes = (
        ()
        if found.depends_on_input is not False
        else ("the model's outputs hardly depend on its input, so that comparing them shows little",)
    )
    return Parity(found.inputs, found.max_abs, found.max_rel, notes)


def same_model(
    model: nn.Module, again: nn.Module, inputs: object, *, where: str, library: str
) -> tuple[str, float | None]:
    """Check that the library has read back the very model: all tensors, and outputs where inputs are known.

    Returns:
        What was compared in words; the largest relative difference of outputs, if they were compared.

    Raises:
        SaveError: A tensor is absent or another one, or outputs differ at all.
    """
    mine, theirs = _tensors(model), _tensors(again)
    wrong = [name for name in mine if name not in theirs or not _equal(mine[name], theirs[name])]
    wrong += [name for name in theirs if name not in mine]
    if wrong:
        raise SaveError(
            f"{library} reads back another model: {_listed(wrong)} differ; nothing was written",
            where=where,
            hint="it has been changed in a way that this library can't rebuild: keep it with torchgraft.save",
        )
    tensors = f"{library} reads back all {len(mine)} tensors bit for bit"
    try:
        parity = outputs_agree(model, again, inputs, 0.0, where=where, what=f"the model that {library} built")
    except DataError:
        if inputs is not None:
            raise
        return f"{tensors}; outputs were not compared, for no input is known: inputs=…", None
    return f"{tensors}, and its {parity}", parity.relative


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    a, b = (tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return torch.equal(a, b)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
