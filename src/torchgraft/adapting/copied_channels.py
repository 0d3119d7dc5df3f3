"""The op that gives another number of input channels to a first layer that sees each several times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.adapting.change import Change
from torchgraft.adapting.input_channels import InputChannels
from torchgraft.adapting.input_layout import InputLayout
from torchgraft.adapting.ops import Shape

if TYPE_CHECKING:
    import torch

__all__ = ["CopiedChannels"]


@dataclass(frozen=True, slots=True)
class CopiedChannels:
    """Input channels N→M of a space-to-depth or `Linear` patch stem: `(out, N·copies, *kernel)` → M·copies.

    Each copy of the channels (each pixel of a block or patch) gets what `InputChannels` gives a convolution,
    with its modes: the convolution over patches that it stands for gets the same.

    Attributes:
        change: What happens to each copy.
        copies: How often the stem sees each channel.
        together: Whether the copies of a channel lie together in the weight; else the channels of a pixel do.
    """

    name: ClassVar[str] = "copied-input-channels"
    needs_base: ClassVar[bool] = False

    change: InputChannels
    copies: int
    together: bool

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> CopiedChannels | None:
        """The op for a stem of which it is known that it sees each channel several times."""
        layout = change.place
        if not isinstance(layout, InputLayout) or len(shape) != len(change.target) or len(shape) < 2:
            return None
        each = replace(
            change,
            source=(shape[0], layout.channels_in(shape[1]), *shape[2:]),
            target=(change.target[0], layout.channels_in(change.target[1]), *change.target[2:]),
            place=None,
        )
        op = InputChannels.fit(each.source, each)
        return None if op is None else cls(op, layout.copies, layout.together)

    @property
    def mode(self) -> object:
        """That of `InputChannels`."""
        return self.change.mode

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        return self.change.effect

    def with_mode(self, mode: object) -> CopiedChannels:
        """The same step in another mode."""
        return replace(self, change=self.change.with_mode(mode))

    def describe(self) -> str:
        """Such as `"input channels 3→4, repeat, for each of 16 pixels"`."""
        return f"{self.change.describe()}, for each of {self.copies} pixels"

    def shape(self, source: Shape) -> Shape:
        """`(out, N·copies, *kernel)` → `(out, M·copies, *kernel)`."""
        return (source[0], self.change.target * self.copies, *source[2:])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The weight for M channels.

        Raises:
            AdaptError: As `InputChannels.apply`.
        """
        return self._layout.joined(self.change.apply(self._layout.apart(tensor)))

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The weight for N channels.

        Raises:
            AdaptError: As `InputChannels.invert`.
        """
        return self._layout.joined(self.change.invert(self._layout.apart(tensor)))

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        each = {key: value for key, value in self.change.to_json().items() if key != "op"}
        return {"op": self.name, **each, "copies": self.copies, "together": self.together}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CopiedChannels:
        """The inverse of `to_json`."""
        return cls(InputChannels.from_json(data), int(data["copies"]), bool(data["together"]))

    @property
    def _layout(self) -> InputLayout:
        return InputLayout(1, self.change.source, self.copies, self.together)
