"""Photos and what is known of them: from folders, tables, memory or datasets."""

from torchgraft.finetuning.images.folders import image_folder
from torchgraft.finetuning.images.image_data import ImageData
from torchgraft.finetuning.images.image_set import Images
from torchgraft.finetuning.images.readable import keep_readable
from torchgraft.finetuning.images.sources import Data, parts_of
from torchgraft.finetuning.images.splitting import split

__all__ = ["Data", "ImageData", "Images", "image_folder", "keep_readable", "parts_of", "split"]
