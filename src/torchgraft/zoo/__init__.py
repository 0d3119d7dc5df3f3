"""Models by name (`"torchvision/…"`, `"timm/…"`, `"module:callable"`) or from where they were saved."""

from torchgraft.zoo.creating import create_model
from torchgraft.zoo.reloading import load
from torchgraft.zoo.sources import Published, Source, find_source

__all__ = ["Published", "Source", "create_model", "find_source", "load"]
