"""Names taken apart, against what each library documents about its own."""

from __future__ import annotations

import pytest

from torchgraft.matching.naming import is_flat, taken_apart

CASES = [
    ("PyTorch", "layer1.0.bn1.running_var", False, ("layer1", "0", "bn1"), "running_var"),
    ("a bare parameter", "blocks.0.gamma_1", False, ("blocks", "0", "gamma_1"), ""),
    ("attached", "attn.in_proj_weight", False, ("attn", "in_proj"), "weight"),
    ("old TensorFlow", "LayerNorm.gamma", False, ("LayerNorm",), "weight"),
    ("Keras", "conv1_bn/moving_variance:0", False, ("conv1_bn",), "running_var"),
    ("Keras depthwise", "expanded/depthwise_kernel", False, ("expanded",), "weight"),
    ("Flax", "params.bn_init.scale", False, ("bn_init",), "weight"),
    ("Flax statistics", "batch_stats.bn_init.mean", False, ("bn_init",), "running_mean"),
    ("Haiku", "resnet/~/initial_conv/w", False, ("resnet", "initial_conv"), "weight"),
    ("Haiku average", "bn/~/mean_ema/average", False, ("bn",), "running_mean"),
    ("Paddle", "bn1.w_1", False, ("bn1",), "running_mean"),
    ("MXNet, flat", "stage1_unit1_bn1_gamma", True, ("stage1", "unit1", "bn1"), "weight"),
    ("Caffe2, flat", "res2_0_branch2a_bn_riv", True, ("res2", "0", "branch2a", "bn"), "running_var"),
    ("its leaf alone", "weight", False, (), "weight"),
]


@pytest.mark.parametrize(("name", "flat", "path", "leaf"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_taken_apart(name, flat, path, leaf):
    assert taken_apart(name, flat=flat) == (path, leaf)


@pytest.mark.parametrize(
    ("names", "flat"),
    [
        (["conv0_weight", "stage1_bn1_gamma", "fc1_bias"], True),
        (["stage_2_block_0/kernel", "stage_2_block_1/kernel"], True),
        (["layer1.0.conv1.weight", "layer1.0.bn1.weight", "fc.weight"], False),
    ],
)
def test_flat(names, flat):
    assert is_flat(names) == flat
