"""Which tensors of a checkpoint are quantised weights, and where their scales are: by name, dtype and shape.

A convention is known by the name of the scales beside the weight:

| scales | zero points | who writes it |
|---|---|---|
| `weight_scale_inv` | | DeepSeek-V3, transformers' fine-grained float8: a scale for each block of 128×128 |
| `weight_scale` | `weight_zero_point` | compressed-tensors (llm-compressor), ModelOpt, FBGEMM: float8, int8 |
| `scale_weight` | | ComfyUI's scaled float8: one scale for the tensor |
| `SCB` | | bitsandbytes' LLM.int8: the largest value of each row, which stands for 127 |

With `weight` any name stands for the weight's, such as `gate_up_proj` and `gate_up_proj_scale_inv`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torchgraft.checkpoint.scaling import Scaling, blocks_of
from torchgraft.errors import CheckpointError
from torchgraft.tensors import TensorRef

__all__ = ["Scaled", "find_scalings"]

_FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
_INT8 = ("int8",)
_QUANTISED = ("qint8", "quint8", "qint32")
_SCALES = ("float32", "bfloat16", "float16", "float64", "float8_e8m0fnu", "uint8")
"""Of the last two, a number is the exponent of a power of two (OCP Microscaling, v1.0 §5.4.1, E8M0)."""

_ACTIVATIONS = (
    "input_scale", "input_zero_point", "input_global_scale", "activation_scale", "activation_scale_inv",
    "scale_input", "output_scale", "k_scale", "v_scale", "q_scale", "kv_scale", "scaled_fp8",
)  # fmt: skip
"""What belongs to quantised activations or marks the file; a model that computes with floats has none."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """The quantised weights of a checkpoint.

    Attributes:
        scalings: By the key of the weight.
        aside: Tensors that belong to quantisation and to no weight, which a model of floats does not take.
        unscaled: Keys of float8 weights that have no scale.
    """

    scalings: Mapping[str, Scaling]
    aside: tuple[str, ...]
    unscaled: tuple[str, ...]


def find_scalings(tensors: Mapping[str, TensorRef], kept: Collection[str] = ()) -> Scaled:
    """The quantised weights among these tensors.

    Args:
        tensors: By key.
        kept: Last words of names that the model itself has, such as `"weight_scale_inv"`: it is quantised in
            this way, and such weights are taken as they are.

    Raises:
        CheckpointError: The scales of a weight don't fit it.
    """
    scalings: dict[str, Scaling] = {}
    unscaled: list[str] = []
    for key, ref in tensors.items():
        if ref.dtype in _QUANTISED:
            scalings[key] = Scaling()
        elif ref.dtype in (*_FLOAT8, *_INT8) and ref.numel:
            found = _scaling(key, ref, tensors, kept)
            if found is not None:
                scalings[key] = found
            elif ref.dtype in _FLOAT8:
                unscaled.append(key)
    aside = [
        key
        for key, ref in tensors.items()
        if ref.numel <= 2 and _last(key) in _ACTIVATIONS and _last(key) not in kept
    ]
    scaled = any(scaling.scale is not None for scaling in scalings.values())
    return Scaled(scalings, tuple(aside) if scaled or unscaled else (), tuple(unscaled))


def _scaling(
    key: str, ref: TensorRef, tensors: Mapping[str, TensorRef], kept: Collection[str]
) -> Scaling | None:
    module, dot, leaf = key.rpartition(".")
    beside = module + dot
    candidates: list[tuple[str, str | None]] = [(f"{key}_scale", f"{key}_zero_point")]
    if ref.dtype in _FLOAT8:
        candidates = [(f"{key}_scale_inv", None), *candidates, (f"{beside}scale_{leaf}", None)]
    elif leaf == "weight":
        candidates.append((f"{beside}SCB", None))
    for scale, zero_point in candidates:
        found = tensors.get(scale)
        if found is None or found.dtype not in _SCALES or _last(scale) in kept:
            continue
        if zero_point is not None and zero_point not in tensors:
            zero_point = None
        block = blocks_of(ref.shape, found.shape)
        if block is None or (zero_point is not None and tensors[zero_point].shape != found.shape):
            raise _unfit(key, ref, scale, found)
        if _last(scale) != "SCB":
            return Scaling(scale, zero_point, block)
        if block != (1, *ref.shape[1:]):
            raise _unfit(key, ref, scale, found)
        form = f"{beside}weight_format"
        return Scaling(scale, None, block, 1 / 127, form if form in tensors else None)
    return None


def _unfit(key: str, ref: TensorRef, scale: str, found: TensorRef) -> CheckpointError:
    return CheckpointError(
        f"its scales, {scale} {found.dtype} {list(found.shape)}, don't fit a weight of {ref.dtype} "
        f"{list(ref.shape)}: which elements share one can't be told",
        where=key,
        hint="dequantise the checkpoint with the library that wrote it, and save it again",
    )


def _last(key: str) -> str:
    return key.rpartition(".")[2]
