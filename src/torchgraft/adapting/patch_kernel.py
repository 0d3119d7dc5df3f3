"""The op that gives a patch embedding another patch size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from torchgraft.adapting.change import Change
from torchgraft.adapting.ops import Shape
from torchgraft.adapting.places import PatchPlace
from torchgraft.adapting.resampling import axis_matrix, checked, resampled
from torchgraft.errors import AdaptError

if TYPE_CHECKING:
    import torch

__all__ = ["PatchKernel", "PatchKernelMode"]

PatchKernelMode: TypeAlias = Literal["pinv", "bicubic", "bilinear"]
"""See `PatchKernel`."""


@dataclass(frozen=True, slots=True)
class PatchKernel:
    """The kernel of patches of another size: `(out, in, rows, columns)`, or a `Linear` over flattened ones.

    | mode | new kernel, for B = the matrix that resizes a patch from the old size to the new |
    |---|---|
    | `pinv` | (B⁺)ᵀ w |
    | `bicubic`, `bilinear` | B w: resized as if it were an image |

    B is antialiased bicubic (for `bilinear`, linear). With `pinv` a larger kernel's response to a patch that
    was enlarged by B is the old one's to the patch as it was, exactly; for a smaller kernel it is the nearest
    such response in the least-squares sense over patches of white noise. The naive modes change the response
    by about the ratio of the areas.

    Sources:
        `pinv` is the PI-resize of Beyer et al., FlexiViT (2023), §3.4, and timm's `resample_patch_embed` to
        1e-6; ours is computed in float64, one axis after the other.

    Attributes:
        source: Rows and columns of the checkpoint's patch.
        target: Those of the model's.
        mode: A mode's name.
        order: For a `Linear`, which of channels (0), rows (1), columns (2) varies slowest, next and fastest
            within its input; `None` for a convolution.
    """

    name: ClassVar[str] = "patch-kernel"
    needs_base: ClassVar[bool] = False

    source: tuple[int, int]
    target: tuple[int, int]
    mode: str = "pinv"
    order: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        checked(self.mode, PatchKernelMode)
        if min(*self.source, *self.target) < 1 or sorted(self.order or range(3)) != [0, 1, 2]:
            raise AdaptError(f"there is no such change of patches: {self}")

    @classmethod
    def fit(cls, shape: Shape, change: Change) -> PatchKernel | None:
        """The op for a stem that cuts an image into patches, whose kernel differs."""
        place = change.place
        if not isinstance(place, PatchPlace) or len(shape) != len(change.target):
            return None
        if place.order is None:
            source = shape[2:]
        else:
            pixels, rest = divmod(shape[1], place.channels)
            side = round(pixels**0.5)
            source = (side, side) if side * side == pixels and not rest else ()
        if len(source) != 2 or source == place.size:
            return None
        mode = checked(change.mode(cls.name, "pinv"), PatchKernelMode)
        return cls((source[0], source[1]), place.size, mode, place.order)

    def describe(self) -> str:
        """Such as `"patch 16x16→32x32, pinv"`."""
        (a, b), (c, d) = self.source, self.target
        return f"patch {a}x{b}→{c}x{d}, {self.mode}"

    @property
    def effect(self) -> str:
        """What it means for the outputs."""
        if self.mode != "pinv":
            return "the response grows about as the patch's area"
        if self.target[0] >= self.source[0] and self.target[1] >= self.source[1]:
            return "the response to enlarged patches stays the same"
        return "the response to reduced patches stays about the same"

    def with_mode(self, mode: object) -> PatchKernel:
        """The same step in another mode."""
        return replace(self, mode=checked(mode, PatchKernelMode))

    def shape(self, source: Shape) -> Shape:
        """`(out, in, rows, columns)`, or `(out, in · rows · columns)`."""
        return self._shape(source, self.source, self.target)

    def apply(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The new kernel, in the source's dtype.

        Raises:
            AdaptError: The tensor is no such kernel.
        """
        wanted = self.shape(tuple(tensor.shape))
        kernel = self._as_conv(tensor, self.source)
        if self.mode == "pinv":
            down, across = (matrix.t() for matrix in self._inverse_matrices())
            new = _between(down, kernel, across)
        else:
            new = resampled(kernel, self.target, self.mode)
        return self._as_it_was(new, wanted)

    def invert(self, tensor: torch.Tensor, base: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002  # the protocol's
        """The old kernel: for `pinv` Bᵀ w, which holds what training made of w as far as the old one can.

        Raises:
            AdaptError: The kernel was made smaller.
        """
        import torch

        wanted = self._shape(tuple(tensor.shape), self.target, self.source)
        if self.target[0] < self.source[0] or self.target[1] < self.source[1]:
            raise AdaptError(f"{self.describe()} can't be undone: the kernel was larger than it is now")
        kernel = self._as_conv(tensor, self.target)
        matrices = self._matrices()
        if self.mode == "pinv":
            down, across = (matrix.t() for matrix in matrices)
        else:
            down, across = (torch.linalg.pinv(matrix) for matrix in matrices)
        return self._as_it_was(_between(down, kernel, across), wanted)

    def to_json(self) -> Mapping[str, Any]:
        """Its fields and its name."""
        order = list(self.order) if self.order is not None else None
        return {
            "op": self.name,
            "source": list(self.source),
            "target": list(self.target),
            "mode": self.mode,
            "order": order,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PatchKernel:
        """The inverse of `to_json`."""
        (a, b), (c, d) = data["source"], data["target"]
        order = None if data["order"] is None else tuple(map(int, data["order"]))
        return cls((int(a), int(b)), (int(c), int(d)), str(data["mode"]), order)  # type: ignore[arg-type]  # checked

    def _matrices(self) -> tuple[torch.Tensor, torch.Tensor]:
        how = "bilinear" if self.mode == "bilinear" else "bicubic"
        down, across = (axis_matrix(old, new, how) for old, new in zip(self.source, self.target, strict=True))
        return down, across

    def _inverse_matrices(self) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        down, across = self._matrices()
        return torch.linalg.pinv(down), torch.linalg.pinv(across)

    def _shape(self, shape: Shape, old: tuple[int, int], new: tuple[int, int]) -> Shape:
        if self.order is None and len(shape) == 4 and shape[2:] == old:
            return (*shape[:2], *new)
        channels, rest = divmod(shape[1], old[0] * old[1]) if self.order and len(shape) == 2 else (0, 1)
        if channels and not rest:
            return (shape[0], channels * new[0] * new[1])
        raise AdaptError(f"{self.describe()}: a kernel of shape {list(shape)}")

    def _as_conv(self, kernel: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        if not kernel.is_floating_point():
            raise AdaptError(
                f"{self.describe()}: a {kernel.dtype} kernel can't be resampled; dequantise it first"
            )
        if self.order is None:
            return kernel
        sizes = (kernel.shape[1] // (size[0] * size[1]), *size)
        flat = kernel.reshape(kernel.shape[0], *(sizes[axis] for axis in self.order))
        return flat.permute(0, *(1 + self.order.index(axis) for axis in range(3)))

    def _as_it_was(self, kernel: torch.Tensor, shape: Shape) -> torch.Tensor:
        if self.order is None:
            return kernel
        return kernel.permute(0, *(1 + axis for axis in self.order)).reshape(shape)


def _between(down: torch.Tensor, kernel: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    """`down @ kernel @ acrossᵀ` for each filter and channel, in float64."""
    down, across = down.to(kernel.device), across.to(kernel.device)
    return (down @ kernel.double() @ across.t()).to(kernel.dtype)
