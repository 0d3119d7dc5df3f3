"""What other frameworks' files look like: names and axes of Flax, Haiku, TensorFlow, Paddle, MXNet, Caffe2.

Each takes a PyTorch state dict (of torchvision's ResNet, where names are rewritten) and gives what
a user of that framework holds it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from matching_pairs.pairs import State

Held = Callable[[State], State]
Rules = Sequence[tuple[str, str]]

KERAS_WORDS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def channels_last(name: str, tensor: torch.Tensor, *, depthwise_last: bool = False) -> torch.Tensor:
    """[out, in, h, w] as [h, w, in, out], [out, in] as [in, out]; Keras' depthwise ones are [h, w, in, 1]."""
    if tensor.ndim == 4:
        if depthwise_last and tensor.shape[1] == 1 and tensor.shape[0] > 1:
            return tensor.permute(2, 3, 0, 1).contiguous()
        return tensor.permute(2, 3, 1, 0).contiguous()
    if tensor.ndim == 2 and "embed" not in name:
        return tensor.t().contiguous()
    return tensor


def flax(
    rules: Rules = (), *, prefix: str = "params/", stats: str = "batch_stats/", ordered: bool = True
) -> Held:
    """Flax: params/…/kernel, …/scale, batch_stats/…/mean; keys sorted, as a saved tree's are."""

    def held(state: State) -> State:
        found: State = {}
        for name, tensor in state.items():
            module, _, last = renamed(name, rules).rpartition(".")
            path = module.replace(".", "/")
            if last == "num_batches_tracked":
                continue
            if last in ("running_mean", "running_var"):
                found[f"{stats}{path}/{last.removeprefix('running_')}"] = tensor
            elif last == "weight":
                word = "embedding" if "embed" in path and tensor.ndim == 2 else "kernel"
                word = "scale" if tensor.ndim == 1 else word
                found[f"{prefix}{path}/{word}"] = channels_last(name, tensor)
            else:
                found[f"{prefix}{path}/{last}"] = tensor
        return dict(sorted(found.items())) if ordered else found

    return held


def npz(held: Held) -> Callable[[State], str]:
    """The same in a .npz file."""

    def written(state: State) -> str:
        path = Path(tempfile.mkdtemp()) / "weights.npz"
        np.savez(path, **{name: tensor.numpy() for name, tensor in held(state).items()})
        return str(path)

    return written


def numbered_blocks(state: State) -> dict[str, int]:
    """`layer1.0` … in order, counted through."""
    blocks = dict.fromkeys(m.group(0) for name in state if (m := re.match(r"layer\d+\.\d+", name)))
    return {block: number for number, block in enumerate(blocks)}


def flax_imagenet(block: str) -> Held:
    """Names of Flax's own ImageNet example."""

    def held(state: State) -> State:
        numbers = numbered_blocks(state)
        rules = [
            *((rf"^{re.escape(name)}\.", f"{block}_{number}.") for name, number in numbers.items()),
            (r"downsample\.0", "conv_proj"),
            (r"downsample\.1", "norm_proj"),
            (r"^conv1\.", "conv_init."),
            (r"^bn1\.", "bn_init."),
            (r"^fc\.", "Dense_0."),
            (r"\.conv(\d)\.", lambda m: f".Conv_{int(m[1]) - 1}."),
            (r"\.bn(\d)\.", lambda m: f".BatchNorm_{int(m[1]) - 1}."),
        ]
        return flax(rules)(state)  # type: ignore[arg-type]

    return held


def haiku(state: State) -> State:
    """Haiku's ResNet: w, b, scale, offset, and its moving averages."""
    rules = [
        (r"^layer(\d)\.(\d+)\.downsample\.0", r"block_group_\1/~/block_\2/~/shortcut_conv"),
        (r"^layer(\d)\.(\d+)\.downsample\.1", r"block_group_\1/~/block_\2/~/shortcut_batchnorm"),
        (r"^layer(\d)\.(\d+)\.conv(\d)", r"block_group_\1/~/block_\2/~/conv_\3"),
        (r"^layer(\d)\.(\d+)\.bn(\d)", r"block_group_\1/~/block_\2/~/batchnorm_\3"),
        (r"^conv1", "initial_conv"),
        (r"^bn1", "initial_batchnorm"),
        (r"^fc", "logits"),
        (r"group_(\d)", lambda m: f"group_{int(m[1]) - 1}"),
        (r"/conv_(\d)", lambda m: f"/conv_{int(m[1]) - 1}"),
        (r"batchnorm_(\d)", lambda m: f"batchnorm_{int(m[1]) - 1}"),
    ]
    words = {"weight": "w", "bias": "b"}
    found: State = {}
    for name, tensor in state.items():
        path, _, last = renamed(name, rules).rpartition(".")  # type: ignore[arg-type]
        if last == "num_batches_tracked":
            continue
        norm = "batchnorm" in path
        if last.startswith("running"):
            found[f"res_net/~/{path}/~/{last[8:]}_ema/average"] = tensor
        else:
            last = {"weight": "scale", "bias": "offset"}[last] if norm else words[last]
            found[f"res_net/~/{path}/{last}"] = channels_last(name, tensor)
    return dict(sorted(found.items()))


def keras_names(state: State) -> State:
    """keras.applications' ResNet layers, as TensorFlow variables: conv2_block1_1_conv/kernel:0."""
    rules = [
        (r"^layer(\d)\.(\d+)\.downsample\.0", r"conv\1_block\2_0_conv"),
        (r"^layer(\d)\.(\d+)\.downsample\.1", r"conv\1_block\2_0_bn"),
        (r"^layer(\d)\.(\d+)\.(conv|bn)(\d)", r"conv\1_block\2_\4_\3"),
        (r"^(conv|bn)1\.", r"conv1_\1."),
        (r"^fc", "predictions"),
        (r"conv(\d)_block(\d+)", lambda m: f"conv{int(m[1]) + 1}_block{int(m[2]) + 1}"),
    ]
    found: State = {}
    for name, tensor in state.items():
        path, _, last = renamed(name, rules).rpartition(".")  # type: ignore[arg-type]
        if last == "num_batches_tracked":
            continue
        word = KERAS_WORDS[last] if path.endswith("_bn") else {"weight": "kernel", "bias": "bias"}[last]
        found[f"{path}/{word}:0"] = channels_last(name, tensor, depthwise_last=True)
    return found


def slim(state: State) -> State:
    """TF-slim's ResNet v1."""
    rules = [
        (r"^layer(\d)\.(\d+)\.downsample\.0", r"block\1/unit_\2/bottleneck_v1/shortcut"),
        (r"^layer(\d)\.(\d+)\.downsample\.1", r"block\1/unit_\2/bottleneck_v1/shortcut/BatchNorm"),
        (r"^layer(\d)\.(\d+)\.conv(\d)", r"block\1/unit_\2/bottleneck_v1/conv\3"),
        (r"^layer(\d)\.(\d+)\.bn(\d)", r"block\1/unit_\2/bottleneck_v1/conv\3/BatchNorm"),
        (r"^bn1\.", "conv1/BatchNorm."),
        (r"^fc", "logits"),
        (r"unit_(\d+)", lambda m: f"unit_{int(m[1]) + 1}"),
    ]
    found: State = {}
    for name, tensor in state.items():
        path, _, last = renamed(name, rules).rpartition(".")  # type: ignore[arg-type]
        if last == "num_batches_tracked":
            continue
        word = (
            KERAS_WORDS[last] if path.endswith("BatchNorm") else {"weight": "weights", "bias": "biases"}[last]
        )
        value = tensor.t()[None, None].contiguous() if tensor.ndim == 2 else channels_last(name, tensor)
        found[f"resnet_v1/{path}/{word}"] = value
    return dict(sorted(found.items()))


def counted(names: dict[str, str], words: dict[str, dict[str, str]], *, transposed: bool) -> Held:
    """Names that say the kind of layer and count it, through the whole network (Paddle, MXNet)."""

    def held(state: State) -> State:
        counts: dict[str, int] = {}
        modules: dict[str, str] = {}
        found: State = {}
        norms = {name.rpartition(".")[0] for name in state if name.endswith("running_mean")}
        for name, tensor in state.items():
            module, _, last = name.rpartition(".")
            if last == "num_batches_tracked":
                continue
            kind = "norm" if module in norms else "conv" if tensor.ndim == 4 else "dense"
            if module not in modules:
                modules[module] = f"{names[kind]}{counts.setdefault(kind, 0)}"
                counts[kind] += 1
            word = words["norm" if kind == "norm" else "other"][last]
            value = tensor.t().contiguous() if tensor.ndim == 2 and transposed else tensor
            found[modules[module] + word] = value
        return found

    return held


paddle = counted(
    {"conv": "conv2d_", "norm": "batch_norm2d_", "dense": "linear_"},
    {
        "norm": {"weight": ".w_0", "bias": ".b_0", "running_mean": ".w_1", "running_var": ".w_2"},
        "other": {"weight": ".w_0", "bias": ".b_0"},
    },
    transposed=True,
)
mxnet = counted(
    {"conv": "resnetv10_conv", "norm": "resnetv10_batchnorm", "dense": "resnetv10_dense"},
    {
        "norm": {
            "weight": "_gamma",
            "bias": "_beta",
            "running_mean": "_running_mean",
            "running_var": "_running_var",
        },
        "other": {"weight": "_weight", "bias": "_bias"},
    },
    transposed=False,
)


def caffe2(state: State) -> State:
    """Detectron's names: res2_0_branch2a_w, res2_0_branch2a_bn_s."""
    letters = {"1": "a", "2": "b", "3": "c"}
    rules = [
        (r"^layer(\d)\.(\d+)\.downsample\.0", r"res\1_\2_branch1"),
        (r"^layer(\d)\.(\d+)\.downsample\.1", r"res\1_\2_branch1_bn"),
        (r"^layer(\d)\.(\d+)\.conv(\d)", lambda m: f"res{m[1]}_{m[2]}_branch2{letters[m[3]]}"),
        (r"^layer(\d)\.(\d+)\.bn(\d)", lambda m: f"res{m[1]}_{m[2]}_branch2{letters[m[3]]}_bn"),
        (r"^bn1", "res_conv1_bn"),
        (r"^fc", "fc1000"),
        (r"^res(\d)", lambda m: f"res{int(m[1]) + 1}"),
    ]
    words = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    found: State = {}
    for name, tensor in state.items():
        path, _, last = renamed(name, rules).rpartition(".")  # type: ignore[arg-type]
        if last != "num_batches_tracked":
            found[f"{path}_{words[last] if path.endswith('bn') else last[0]}"] = tensor
    return found


def detectron2(state: State) -> State:
    """detectron2's: backbone.bottom_up.res2.0.shortcut.norm.weight, without counters of batches."""
    rules = [
        (r"^layer(\d)\.(\d+)\.downsample\.0", r"res\1.\2.shortcut"),
        (r"^layer(\d)\.(\d+)\.downsample\.1", r"res\1.\2.shortcut.norm"),
        (r"^layer(\d)\.(\d+)\.bn(\d)", r"res\1.\2.conv\3.norm"),
        (r"^layer(\d)", r"res\1"),
        (r"^conv1", "stem.conv1"),
        (r"^bn1", "stem.conv1.norm"),
        (r"^fc", "linear"),
        (r"^res(\d)", lambda m: f"res{int(m[1]) + 1}"),
    ]
    names = {name: renamed(name, rules) for name in state}  # type: ignore[arg-type]
    return {
        "backbone.bottom_up." + names[name]: tensor
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }


def big_vision(state: State) -> State:
    """A ViT as Google's JAX code saves it: per-head kernels [D, H, D/H] and [H, D/H, D], sorted."""
    heads = 4
    found: State = {
        "cls": state["cls_token"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "embedding/kernel": state["patch_embed.proj.weight"].permute(2, 3, 1, 0).contiguous(),
        "embedding/bias": state["patch_embed.proj.bias"],
        "head/kernel": state["head.weight"].t().contiguous(),
        "head/bias": state["head.bias"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
    }
    depth = sum(name.endswith("norm1.weight") for name in state)
    for n in range(depth):
        here, there = f"blocks.{n}.", f"Transformer/encoderblock_{n}/"
        attention = there + "MultiHeadDotProductAttention_1/"
        for word, w, b in zip(
            ("query", "key", "value"),
            state[f"{here}attn.qkv.weight"].chunk(3),
            state[f"{here}attn.qkv.bias"].chunk(3),
            strict=True,
        ):
            found[f"{attention}{word}/kernel"] = w.t().unflatten(1, (heads, -1)).contiguous()
            found[f"{attention}{word}/bias"] = b.unflatten(0, (heads, -1))
        found[f"{attention}out/kernel"] = (
            state[f"{here}attn.proj.weight"].t().unflatten(0, (heads, -1)).contiguous()
        )
        found[f"{attention}out/bias"] = state[f"{here}attn.proj.bias"]
        for number, norm in ((0, "norm1"), (2, "norm2")):
            found[f"{there}LayerNorm_{number}/scale"] = state[f"{here}{norm}.weight"]
            found[f"{there}LayerNorm_{number}/bias"] = state[f"{here}{norm}.bias"]
        for number, layer in ((0, "fc1"), (1, "fc2")):
            found[f"{there}MlpBlock_3/Dense_{number}/kernel"] = (
                state[f"{here}mlp.{layer}.weight"].t().contiguous()
            )
            found[f"{there}MlpBlock_3/Dense_{number}/bias"] = state[f"{here}mlp.{layer}.bias"]
    return dict(sorted(found.items()))
