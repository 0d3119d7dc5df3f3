"""Every command with its one line, in the order in which they are needed: `--help` imports none of them."""

from __future__ import annotations

from difflib import get_close_matches

__all__ = ["COMMANDS", "SECTIONS", "near_command"]

SECTIONS: dict[str, dict[str, str]] = {
    "Look": {
        "inspect": "What is in a checkpoint: format, parts, tensors.",
        "diff": "What two checkpoints have in common, and what not.",
        "view": "A run, a checkpoint or a plan as a page in the browser.",
    },
    "Load": {
        "plan": "What would happen to every tensor, and why.",
        "graft": "Put weights into a model, all or nothing.",
        "check": "Whether a graft is right: by photos, or beside outputs.",
        "restore": "Weights back in the names of the checkpoint they came from.",
    },
    "Change and train": {
        "adapt": "Other input channels or classes, weights kept.",
        "finetune": "Train a model on images.",
        "evaluate": "How well a model does on labelled images.",
        "predict": "What a model sees in some images.",
    },
    "Find and share": {
        "zoo": "Models by name: list them, show one.",
        "fetch": "Download a file to the cache, verified, or find it there.",
        "cache": "What has been downloaded: list, verify, prune.",
        "convert": "Write any checkpoint as safetensors or .pth.",
        "export": "For timm, transformers, ONNX and others, checked.",
    },
    "This installation": {
        "demo": "All of it, on real weights and photos.",
        "doctor": "Versions, accelerators, optional parts, the cache.",
        "completion": "Make your shell complete commands and options.",
    },
}
"""Heading → command → what it does. Each is a module of this package that holds a click command so named."""

COMMANDS: dict[str, str] = {name: line for part in SECTIONS.values() for name, line in part.items()}


def near_command(name: str) -> str | None:
    """The command that was probably meant."""
    return next(iter(get_close_matches(name, COMMANDS, n=1, cutoff=0.6)), None)
