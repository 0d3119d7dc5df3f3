"""Models for other programs: timm's and transformers' folders, `.pth`, ONNX and `torch.export` files."""

from torchgraft.exporting.exporting import FORMATS, export
from torchgraft.exporting.result import Exported

__all__ = ["FORMATS", "Exported", "export"]
