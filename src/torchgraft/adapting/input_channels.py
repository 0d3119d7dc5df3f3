"""The op that gives a first layer another number of input channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from torchgraft.adapting.change import Change
from torchgraft.adapting.channel_weights import extended, kept_scale, spread
from torchgraft.adapting.in_mode import ChannelMap, Entry, NamedInMode, normal_in_mode
from torchgraft.adapting.input_layout import InputLayout
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.precision import widened
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["InputChannels"]


@dataclass(frozen=True, slots=True)
class InputChannels:
    """Input channels N→M of a weight `(out, N, *kernel)`: 1-, 2-, 3-D convolutions and `Linear`.

    With w the source's channels and w̄ their mean, new channel j is

    | mode | j < N | j ≥ N | only if |
    |---|---|---|---|
    | `repeat` | w[j mod N] · N/M | the same | M > 1; for M = 1 it is Σw |
    | `mean` | w[j] · N/M | w̄ · N/M | M ≥ N; for M < N all are w̄ · N/M |
    | `sum` | Σw / M | the same | |
    | `zeros` | w[j] | 0 | M ≥ N |
    | `keep-scale` | w[j] · s | w̄ · s | M ≥ N; for M < N all are w̄ · s |
    | a map | w[map[j]], w̄, 0 or Σ factors · w, never rescaled | | its length is M |

    What stays the same:
        `mean` and `sum` keep the response to an input whose channels all carry the same image, up to
        rounding: Σ new = Σ w. So does `repeat` where M is 1 or a multiple of N; else only on average over
        the order of the source's channels, since each enters with weight ⌊M/N⌋ or ⌈M/N⌉ times N/M.
        `zeros` keeps every response bit for bit, whatever the further channels carry (so long as it is
        finite). `keep-scale` keeps the variance of the response to independent channels of one variance
        (exactly to white noise): each filter's s is such that Σ new² = Σ w². Such channels, bands of
        different sensors say, are what no mode that is exact for equal channels is right for: with N/M the
        variance changes by about N/M. A filter whose w̄ is 0 becomes 0 where M < N.

    Groups:
        Where the target is a convolution of g groups, each filter sees M/g channels. If the source's sees
        just one, which holds for a depthwise stem and for one that takes a single channel, that is spread
        over its group: with `zeros` it stays the group's first. Else it is not known which of the source's
        channels belong to which group, and it is refused; `adapt` on a model of the source's groups is
        not, since it makes the stem dense first.

    Sources:
        `repeat` is timm's `adapt_input_conv` to the bit. Filling all new channels with the mean, without
        rescaling, is the cross-modality initialisation of Wang et al., Temporal Segment Networks
        (2016), §3.2; a map of `"mean"` gives it. That the variance of the response to independent inputs is
        Σ w² times theirs: He et al., Delving Deep into Rectifiers (2015), §2.2.

    Attributes:
        source: N.
        target: M.
        mode: A mode's name or a map, see `InMode`.
    """

    name: ClassVar[str] = "input-channels"
    needs_base: ClassVar[bool] = False

    source: int
    target: int
    mode: NamedInMode | ChannelMap = "repeat"

    def __post_init__(self) -> None:
        change = f"{self.source}→{self.target} input channels"
        if self.source < 1 or self.target < 1:
            raise AdaptError(f"{change}: both must be at least 1")
        if self.mode == "zeros" and self.target < self.source:
            raise AdaptError(
                f'{change}: mode "zeros" adds channels, it can\'t remove them',
                hint='use in_mode="sum", which keeps the response to equal channels',
            )
        if isinstance(self.mode, tuple):
            if len(self.mode) != self.target:
                raise AdaptError(
                    f"{change}: the map has {len(self.mode)} entries, one a new channel is needed"
                )
            beyond = [entry for entry in self.mode if isinstance(entry, int) and entry >= self.source]
            if beyond:
                raise AdaptError(
                    f"{change}: there is no source channel {beyond[0]}, they end at {self.source - 1}"
                )
            for entry in self.mode:
                if isinstance(entry, tuple) and len(entry) > self.source:
                    raise AdaptError(
                        f"{change}: a mix has {len(entry)} factors, more than there are source channels"
                    )

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> InputChannels | None:
        """The op for a stem whose second dimension differs, or whose channels a map puts in another order."""
        if isinstance(change.place, InputLayout):
            return None  # `CopiedChannels` has done it
        if change.role != "stem" or len(shape) != len(change.target) or len(shape) < 2:
            return None
        mode = normal_in_mode(change.mode(cls.name, "repeat"))
        n, m = shape[1], change.target[1]
        if n == m and (isinstance(mode, str) or mode == tuple(range(n))):
            return None
        if change.groups != 1 and n != 1:
            raise AdaptError(
                f"the stem is a convolution of {change.groups} groups: its weight {list(change.target)} has "
                f"input channels divided by groups, and it is not known which of the {n} in {list(shape)} "
                "belong to which",
                hint="adapt(model, in_channels=…) a model with the checkpoint's groups and weights",
            )
        return cls(n, m, mode)

    def describe(self) -> str:
        """Such as `"input channels 3→4, repeat"`."""
        mode = self.mode if isinstance(self.mode, str) else ",".join(map(_said, self.mode))
        return f"input channels {self.source}→{self.target}, {mode}"

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        if isinstance(self.mode, tuple):
            return "each new channel weighs as the map says, nothing is rescaled"
        if self.mode == "keep-scale":
            return "the variance of the response to independent channels stays the same"
        if self.mode == "zeros":
            return "the response stays the same, whatever the new channels carry"
        if self.mode == "repeat" and self.target != 1 and self.target % self.source:
            return "the response to equal channels stays about the same"
        return "the response to equal channels stays the same"

    def with_mode(self, mode: object) -> InputChannels:
        """The same step in another mode."""
        return replace(self, mode=normal_in_mode(mode))

    def shape(self, source: Shape) -> Shape:
        """`(out, N, *kernel)` → `(out, M, *kernel)`."""
        return (source[0], self.target, *source[2:])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The weight for M channels, computed in float32 or wider, in the source's dtype.

        Raises:
            AdaptError: The tensor is not a floating-point weight with N input channels.
        """
        self._check(tensor, self.source)
        return spread(widened(tensor), self.target, self.mode).to(tensor.dtype)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The weight for N channels.

        Raises:
            AdaptError: Source channels were merged or dropped, or the further channels have been
                trained since, so that leaving them out would change what the model does.
        """
        self._check(tensor, self.target)
        places = self._places()
        if places is None:
            raise AdaptError(
                f"{self.describe()} can't be undone: the source's channels were merged or dropped"
            )
        wide = widened(tensor)
        back = wide[:, places]
        if self.mode in ("repeat", "mean"):
            back = back * (self.target / self.source)
        if self.mode == "keep-scale":
            # what was applied is the same for any multiple of a filter
            back = back * kept_scale(extended(back, self.target), back)
        if not wide.is_meta:
            again = spread(back, self.target, self.mode)
            tolerance = 8 * float(_eps(tensor)) * float(again.abs().max())
            if float((again - wide).abs().max()) > tolerance:
                raise AdaptError(
                    f"{self.describe()} can't be undone: the new channels have been trained since, "
                    "and dropping them would change the model",
                )
        return back.to(tensor.dtype)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        mode = self.mode if isinstance(self.mode, str) else list(self.mode)
        return {"op": self.name, "source": self.source, "target": self.target, "mode": mode}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> InputChannels:
        """The inverse of `to_json`."""
        return cls(int(data["source"]), int(data["target"]), normal_in_mode(data["mode"]))

    def _places(self) -> list[int] | None:
        """For each source channel the new channel it can be read back from; `None` if one is lost."""
        if isinstance(self.mode, tuple):
            if not set(range(self.source)) <= set(self.mode):
                return None
            return [self.mode.index(channel) for channel in range(self.source)]
        if self.source == 1:
            return [0]
        lost = self.mode == "sum" or self.target < self.source
        return None if lost else list(range(self.source))

    def _check(self, tensor: torch.Tensor, channels: int) -> None:
        if tensor.ndim < 2 or tensor.shape[1] != channels:
            raise AdaptError(
                f"{self.describe()}: a weight of shape {list(tensor.shape)} has not {channels} input channels"
            )
        if not tensor.is_floating_point():
            raise AdaptError(
                f"{self.describe()}: a {tensor.dtype} weight can't be rescaled; dequantise it first"
            )


def _said(entry: Entry) -> str:
    return (
        "+".join(f"{factor:g}·{i}" for i, factor in enumerate(entry))
        if isinstance(entry, tuple)
        else str(entry)
    )


def _eps(tensor: torch.Tensor) -> float:
    import torch

    return torch.finfo(tensor.dtype).eps
