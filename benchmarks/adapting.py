"""Each adapter beside the function that timm has for the same job: the same numbers first, then the time.

    python benchmarks/adapting.py [--rounds N]

Tensors are of the sizes that ViT-B/16, Swin-T and ResNet-50 have. Ratios above 1: ours takes longer.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import timm
import torch
from interleaved import medians, spread
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table, resize_rel_pos_bias_table_levit
from timm.models import adapt_input_conv

from torchgraft.adapting import InputChannels, PatchKernel, Positions, RelativePositions
from torchgraft.adapting.places import Grid, Window

Work = Callable[[], torch.Tensor]


def jobs() -> dict[str, tuple[Work, Work, float]]:
    """What is done → ours, timm's, and how far their numbers may lie apart."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    stem, patches, table = random(64, 3, 7, 7), random(768, 3, 16, 16), random(1, 197, 768)
    biases = random(13 * 13, 3)
    found: dict[str, tuple[Work, Work, float]] = {}
    for channels in (1, 4):
        found[f"stem 3 → {channels} channels"] = (
            lambda n=channels: InputChannels(3, n).apply(stem),
            lambda n=channels: adapt_input_conv(n, stem),
            0.0,
        )
    for side in (7, 24):
        found[f"positions 14² → {side}²"] = (
            lambda n=side: Positions(Grid(14, 14, 1), Grid(n, n, 1), (0,)).apply(table),
            lambda n=side: resample_abs_pos_embed(table, [n, n], [14, 14], num_prefix_tokens=1),
            0.0,
        )
    for side in (8, 32):
        found[f"patches 16² → {side}²"] = (
            lambda n=side: PatchKernel((16, 16), (n, n)).apply(patches),
            lambda n=side: resample_patch_embed(patches, [n, n]),
            1e-4,
        )
    old, new = Window(7, 7), Window(12, 12)
    found["window 7² → 12², geometric"] = (
        lambda: RelativePositions(old, new).apply(biases),
        lambda: resize_rel_pos_bias_table(biases, (12, 12), (new.entries, 3), (7, 7)),
        1e-5,
    )
    found["window 7² → 12², bicubic"] = (
        lambda: RelativePositions(old, new, "bicubic").apply(biases),
        lambda: resize_rel_pos_bias_table_levit(biases, (new.entries, 3)),
        0.0,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, timm {timm.__version__}, one thread")
    print("\n| | ours, of timm's time (middle half) |\n|---|---|")
    for name, (ours, theirs, apart) in jobs().items():
        torch.testing.assert_close(ours(), theirs(), atol=apart, rtol=0)
        found = medians({"ours": ours, "timm": theirs}, rounds=options.rounds, least=0.02)
        print(f"| {name} | {spread(found['ours'], found['timm'])} |", flush=True)


if __name__ == "__main__":
    main()
