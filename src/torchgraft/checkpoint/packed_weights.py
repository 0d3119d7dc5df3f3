"""Weights that are packed several to a number: schemes that are known by their names, and refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torchgraft.errors import CheckpointError
from torchgraft.tensors import TensorRef

__all__ = ["refuse_packed"]


def refuse_packed(tensors: Mapping[str, TensorRef], kept: Collection[str], where: str) -> None:
    """Refuse a checkpoint whose weights are packed.

    Args:
        tensors: Of the checkpoint.
        kept: Last words of names that the model has: one that is itself packed in this way takes them.
        where: The checkpoint's name.

    Raises:
        CheckpointError: It names the scheme and a tensor.
    """
    packed: dict[str, list[str]] = {}
    for key, ref in tensors.items():
        scheme, mark = _scheme(key, ref, tensors) or ("", "")
        if scheme and mark not in kept:
            packed.setdefault(scheme, []).append(key)
    for scheme, keys in packed.items():
        raise CheckpointError(
            f"{len(keys)} of its weights are packed by {scheme}, such as {keys[0]} "
            f"{tensors[keys[0]].dtype} {list(tensors[keys[0]].shape)}, which is not unpacked here",
            where=where,
            hint="dequantise it with the library that wrote it (transformers: "
            "model.dequantize()) and save it again",
        )


def _scheme(key: str, ref: TensorRef, tensors: Mapping[str, TensorRef]) -> tuple[str, str] | None:
    """What packed it, and the last word of a name that tells."""
    module, dot, leaf = key.rpartition(".")

    def beside(name: str) -> bool:
        return f"{module}{dot}{name}" in tensors

    if leaf == "qweight" and ref.dtype == "int32":
        if beside("g_idx"):
            return "GPTQ (8 or fewer bits in int32)", leaf
        return ("AWQ or GPTQ (4 bits in int32)" if beside("qzeros") else "an int32 scheme"), leaf
    if leaf == "weight_packed":
        return "compressed-tensors (weight_packed)", leaf
    if leaf == "W_q":
        return "HQQ (W_q)", leaf
    if ref.dtype == "uint8" and f"{key}.absmax" in tensors:
        return "bitsandbytes (4 bits in uint8)", "absmax"
    if ref.dtype == "uint8" and f"{key}_scale" in tensors and f"{key}_scale_2" in tensors:
        return "ModelOpt's NVFP4 (4 bits in uint8)", f"{leaf}_scale_2"
    if ref.dtype in ("int8", "uint8") and f"{key}_scale_inv" in tensors:
        return "MXFP4 (two numbers in a byte)", f"{leaf}_scale_inv"
    if ref.dtype == "uint8" and leaf.endswith("_blocks") and beside(f"{leaf[:-7]}_scales"):
        return "MXFP4 (two numbers in a byte)", leaf
    return None
