"""What a comparison of outputs found: frozen, printable, JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from torchgraft.errors import VerificationError

__all__ = ["LEAST_CHANGE", "Verification"]

LEAST_CHANGE = 1e-3
"""How much another input must change the outputs, in proportion to the largest, for them to show anything."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A model's outputs beside those of a reference. It is true as a condition if they agree.

    Attributes:
        model: What was verified.
        reference: What it was compared with.
        tolerance: The largest relative difference that counts as equal.
        inputs: On how many inputs.
        max_abs: The largest absolute difference of two numbers; infinite where one alone is no finite number.
        max_rel: The largest difference in proportion to the largest absolute value of the reference's tensor
            that it is in. This is what the tolerance is for.
        where: The place of that difference, such as `"logits[0, 281]"`.
        sensitivity: How much the model's outputs change with the input, in proportion to their largest
            absolute value; `None` if it could not be changed.
        compared: The output tensors that were compared, by their place in what the model returns.
        left_out: Those that only one of the two has.
        problem: Why it did not pass; empty if it did.
    """

    model: str
    reference: str
    tolerance: float
    inputs: int
    max_abs: float
    max_rel: float
    where: str
    sensitivity: float | None
    compared: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether all that was compared agrees, and says something since it depends on the input."""
        return not self.problem

    @property
    def depends_on_input(self) -> bool | None:
        """Whether another input changes the outputs by more than a thousandth; `None` if unknown."""
        return None if self.sensitivity is None else self.sensitivity > LEAST_CHANGE

    def __bool__(self) -> bool:
        return self.passed

    def check(self) -> Verification:
        """Itself, if it passed.

        Raises:
            VerificationError: It did not. This is an `AssertionError` too, as `torch.testing` raises.
        """
        if not self.passed:
            raise VerificationError(
                f"the outputs are not those of {self.reference}: {self.problem}",
                where=self.model,
                hint="look at the plan's pairs and their reasons (torchgraft plan … --all), and at what"
                " weights don't hold: eps, padding, preprocessing",
            )
        return self

    def to_json(self) -> dict[str, object]:
        """Plain data. Infinity is `"inf"`, which JSON has no number for."""
        data: dict[str, object] = {"passed": self.passed, **asdict(self)}
        data |= {"compared": list(self.compared), "left_out": list(self.left_out)}
        for key in ("max_abs", "max_rel", "sensitivity"):
            if data[key] == math.inf:
                data[key] = "inf"
        return {**data, "depends_on_input": self.depends_on_input}

    def __str__(self) -> str:
        many = f"{self.inputs} input{'s' if self.inputs != 1 else ''}"
        apart = (
            f"; compared {', '.join(self.compared)}, not {', '.join(self.left_out)}" if self.left_out else ""
        )
        if self.sensitivity is None:
            apart += "; whether they depend on the input is not known"
        if self.passed:
            return (
                f"passed: {self.model} gives the outputs of {self.reference} on {many}, to "
                f"{self.max_abs:.2g} ({self.max_rel:.1e} relative){apart}"
            )
        return f"failed: {self.model} and {self.reference} on {many}: {self.problem}{apart}"
