"""Models by name (`"torchvision/…"`, `"timm/…"`, `"hf/…"`, `"module:callable"`) or from where they lie."""

from torchgraft.zoo.catalogue import PublishedModel, list_models, published
from torchgraft.zoo.creating import create_model
from torchgraft.zoo.published_weights import PublishedWeights
from torchgraft.zoo.reloading import load
from torchgraft.zoo.sources import Source, find_source

__all__ = [
    "PublishedModel",
    "PublishedWeights",
    "Source",
    "create_model",
    "find_source",
    "list_models",
    "load",
    "published",
]
