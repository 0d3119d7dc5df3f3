"""The ops between the convolutions of images and those of videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

from torchgraft.adapting.change import Change
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.precision import widened
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["Deflated", "Inflated"]

_Inflate: TypeAlias = Literal["mean", "centre"]
_Deflate: TypeAlias = Literal["sum", "centre"]


@dataclass(frozen=True, slots=True)
class Inflated:
    """A 2-D convolution's weight over T frames: `(out, in, h, w)` → `(out, in, T, h, w)`.

    | mode | slice t |
    |---|---|
    | `mean` | w / T |
    | `centre` | w for t = ⌊T/2⌋, else 0 |

    What stays the same:
        On a video whose frames are all the same image, each frame's response is the image's, up to rounding,
        except with `mean` near the first and last frame, where a convolution that is padded in time sees
        zeros. With `centre` each frame's response is its own image's, on any video.

    Sources:
        `mean`: the inflation of Carreira & Zisserman, Quo Vadis, Action Recognition? (2017), §2.3.
        `centre`: Girdhar et al., Detect-and-Track (2018), §3.1.

    Attributes:
        frames: T.
        mode: `"mean"` or `"centre"`.
    """

    name: ClassVar[str] = "inflate"
    needs_base: ClassVar[bool] = False

    frames: int
    mode: _Inflate = "mean"

    def __post_init__(self) -> None:
        _check(self.mode, get_args(_Inflate), self.frames)

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> Inflated | None:
        """The op for a kernel of two dimensions whose target has one more, in front."""
        target = change.target
        if len(shape) != 4 or len(target) != 5 or shape[2:] != target[3:] or change.role == "vocabulary":
            return None
        return cls(target[2], change.mode(cls.name, "mean", get_args(_Inflate)))  # type: ignore[arg-type]  # checked by the class

    def describe(self) -> str:
        """Such as `"inflated over 3 frames, mean"`."""
        return f"inflated over {self.frames} frames, {self.mode}"

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        if self.mode == "centre":
            return "each frame is seen as an image of its own, until it is trained"
        return "the response to a still video is the image's"

    def with_mode(self, mode: object) -> Inflated:
        """The same step in another mode."""
        return replace(self, mode=mode)  # type: ignore[arg-type]  # checked by the class

    def shape(self, source: Shape) -> Shape:
        """`(out, in, h, w)` → `(out, in, T, h, w)`."""
        return (*source[:2], self.frames, *source[2:])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The weight over time, in the source's dtype.

        Raises:
            AdaptError: The tensor is not a 2-D convolution's weight of floating-point numbers.
        """
        import torch

        _check_weight(self.describe(), tensor, 4)
        if self.mode == "mean":
            return (
                (widened(tensor) / self.frames).to(tensor.dtype)[:, :, None].repeat(1, 1, self.frames, 1, 1)
            )
        centre = self.frames // 2
        return torch.nn.functional.pad(tensor[:, :, None], (0, 0, 0, 0, centre, self.frames - 1 - centre))

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The weight of images.

        Raises:
            AdaptError: The frames' weights have been trained since, so that they are no longer one image's.
        """
        _check_weight(self.describe(), tensor, 5)
        wide = widened(tensor)
        back = wide[:, :, self.frames // 2] * (self.frames if self.mode == "mean" else 1)
        if not wide.is_meta:
            import torch

            tolerance = 8 * torch.finfo(tensor.dtype).eps * float(wide.abs().max())
            if float((self.apply(back) - wide).abs().max()) > tolerance:
                raise AdaptError(
                    f"{self.describe()} can't be undone: the frames' weights have been trained since, and "
                    "differ by now",
                )
        return back.to(tensor.dtype)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        return {"op": self.name, "frames": self.frames, "mode": self.mode}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Inflated:
        """The inverse of `to_json`."""
        return cls(int(data["frames"]), data["mode"])


@dataclass(frozen=True, slots=True)
class Deflated:
    """A 3-D convolution's weight for single images: `(out, in, T, h, w)` → `(out, in, h, w)`.

    | mode | weight |
    |---|---|
    | `sum` | Σ over t |
    | `centre` | slice ⌊T/2⌋ |

    With `sum` the response to an image is what a still video of it gives away from its ends, up to rounding:
    the inverse of `Inflated`'s `mean`. `centre` is the inverse of its `centre`.

    Attributes:
        frames: T.
        mode: `"sum"` or `"centre"`.
    """

    name: ClassVar[str] = "deflate"
    needs_base: ClassVar[bool] = False

    frames: int
    mode: _Deflate = "sum"

    def __post_init__(self) -> None:
        _check(self.mode, get_args(_Deflate), self.frames)

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> Deflated | None:
        """The op for a kernel of three dimensions whose target lacks the first of them."""
        target = change.target
        if len(shape) != 5 or len(target) != 4 or shape[3:] != target[2:] or change.role == "vocabulary":
            return None
        return cls(shape[2], change.mode(cls.name, "sum", get_args(_Deflate)))  # type: ignore[arg-type]  # checked by the class

    def describe(self) -> str:
        """Such as `"3 frames made one, sum"`."""
        return f"{self.frames} frames made one, {self.mode}"

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        if self.mode == "centre":
            return "the response to an image is what the middle frame added to its own"
        return "the response to an image is that to a still video of it"

    def with_mode(self, mode: object) -> Deflated:
        """The same step in another mode."""
        return replace(self, mode=mode)  # type: ignore[arg-type]  # checked by the class

    def shape(self, source: Shape) -> Shape:
        """`(out, in, T, h, w)` → `(out, in, h, w)`."""
        return (*source[:2], *source[3:])

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The weight of images, in the source's dtype.

        Raises:
            AdaptError: The tensor is not such a 3-D convolution's weight of floating-point numbers.
        """
        _check_weight(self.describe(), tensor, 5)
        if tensor.shape[2] != self.frames:
            raise AdaptError(f"{self.describe()}: a weight of shape {list(tensor.shape)} has not as many")
        if self.mode == "centre":
            return tensor[:, :, self.frames // 2]
        return widened(tensor).sum(dim=2).to(tensor.dtype)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:
        """With `base`, the source's weight, the one nearest to it that gives this one.

        Raises:
            AdaptError: There is no `base` to take the differences between frames from.
        """
        _check_weight(self.describe(), tensor, 4)
        if base is None or tuple(base.shape) != (*tensor.shape[:2], self.frames, *tensor.shape[2:]):
            raise AdaptError(
                f"{self.describe()} can't be undone: how the frames differed is lost",
                hint="give the weight that they were made of as `base`",
            )
        wide = widened(base).clone()
        if self.mode == "centre":
            wide[:, :, self.frames // 2] = tensor
        else:
            wide += ((widened(tensor) - wide.sum(dim=2)) / self.frames)[:, :, None]
        return wide.to(tensor.dtype)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        return {"op": self.name, "frames": self.frames, "mode": self.mode}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Deflated:
        """The inverse of `to_json`."""
        return cls(int(data["frames"]), data["mode"])


def _check(mode: object, known: tuple[str, ...], frames: int) -> None:
    if mode not in known:
        raise AdaptError(f"there is no mode {mode!r} for frames", hint=f"use one of {', '.join(known)}")
    if frames < 1:
        raise AdaptError(f"{frames} frames: there must be at least 1")


def _check_weight(doing: str, tensor: torch.Tensor, ndim: int) -> None:
    if tensor.ndim != ndim or not tensor.is_floating_point():
        raise AdaptError(
            f"{doing}: a {tensor.dtype} tensor of shape {list(tensor.shape)} is not the floating-point "
            f"weight of a {ndim - 2}-D convolution",
        )
