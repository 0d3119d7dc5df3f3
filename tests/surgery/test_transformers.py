"""Transformers' classes get 4 channels and 21 classes, and are as transformers builds them with these."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torchgraft as tg
from torchgraft import adapt

transformers = pytest.importorskip("transformers", reason="needs torchgraft[hf]")

from surgery import transformers_models as models  # noqa: E402  # it imports transformers
from surgery.transformers_feeds import inputs_for, labels_for  # noqa: E402
from surgery.trying import CHANNELS, CLASSES, Tried, try_model  # noqa: E402

SMALL = (
    "ViTForImageClassification", "DeiTForImageClassificationWithTeacher", "CLIPForImageClassification",
    "UperNetForSemanticSegmentation", "DetrForObjectDetection", "MaskFormerForInstanceSegmentation",
    "VideoMAEForVideoClassification", "RobertaForSequenceClassification", "BartForSequenceClassification",
    "LlamaForSequenceClassification", "Wav2Vec2ForCTC", "WhisperForAudioClassification",
)  # fmt: skip

WITHOUT_CHANNELS = {
    "ImageGPTForImageClassification": "it sees the numbers of colours, by an embedding",
    "PerceiverForImageClassificationFourier": "its pixels come with 258 Fourier features of their places",
    "Siglip2ForImageClassification": "it is fed with patches, by a Linear layer of 3 · 8 · 8 values",
}
"""Classes for images whose channels can't be changed, and why not."""

FIXED_CHANNELS = {
    "PerceiverForImageClassificationLearned": "the class builds its preprocessor for 3 channels",
    "PerceiverForImageClassificationConvProcessing": "the class builds its preprocessor for 3 channels",
    "PPLCNetForImageClassification": "the class builds its first convolution for 3 channels",
}
"""Classes whose config can't say how many channels: `from_pretrained` can't build what `adapt` made."""

CLASS_TABLES = {
    "EomtForUniversalSegmentation": ["criterion"],
    "MaskFormerForInstanceSegmentation": ["criterion"],
    "Mask2FormerForUniversalSegmentation": ["criterion"],
    "RTDetrForObjectDetection": ["model.denoising_class_embed"],
}
"""What else has an entry for every class."""

REFUSED = {"Wav2Vec2ForXVector": "its outputs are features, and its 2 classes in 'objective'"}
"""Classes whose outputs are no classes, and what is said of them."""


@pytest.mark.parametrize("name", SMALL)
def test_small_ones(name):
    _judge(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", models.EVERY)
def test_every_class(name):
    _judge(name)


def _judge(name: str) -> None:
    if not hasattr(transformers, name):
        pytest.skip(f"transformers {transformers.__version__} has no {name}")
    tried = try_class(name)
    if name in REFUSED:
        assert (tried.stage, REFUSED[name] in tried.reason) == ("adapt", True), tried
    else:
        assert tried.passed, tried


def try_class(name: str) -> Tried:
    """Adapt it; run it with labels; build it from the adapted config; save it and load it in three ways."""
    torch.manual_seed(0)
    sees = (name in models.VISION or name in models.DETECTION) and name not in WITHOUT_CHANNELS
    channels = CHANNELS if sees else 3
    mirrors = {"num_labels": CLASSES} if name not in models.CTC else {"vocab_size": CLASSES}

    def feed(model: nn.Module) -> dict[str, Any]:
        return inputs_for(name, model, channels) | labels_for(name, model, CLASSES)

    return try_model(
        lambda: models.build(name),
        feed,
        device="cpu",
        adapting={"num_classes": CLASSES} | ({"in_channels": CHANNELS} if sees else {}),
        fits=lambda output: _wrong_with(name, output),
        mirrors=mirrors | ({"num_channels": channels} if sees else {}),
        oracle=lambda model: _differs(name, model.eval(), inputs_for(name, model, channels)),
        changed=CLASS_TABLES.get(name, ()),
    )


def _wrong_with(name: str, output: Any) -> str | None:
    """The logits have 21 classes, or 22 with "no object", and the loss is a number."""
    wanted = CLASSES + name.startswith(("Detr", "Yolos", "TableTransformer", "Mask", "Eomt"))
    keys = ["logits", "cls_logits", "distillation_logits", "class_queries_logits"]
    if name.startswith("PPLCNet"):
        keys = ["last_hidden_state"]  # which is what it calls its logits
    found = [output[key] for key in keys if key in output]
    if not found or any(wanted not in tensor.shape[1:] for tensor in found):
        return f"gives {[tuple(tensor.shape) for tensor in found]}, not {wanted} classes"
    loss = output.get("loss")
    return None if loss is None or bool(loss.isfinite().all()) else f"its loss is {loss}"


def _differs(name: str, model: nn.Module, fed: dict[str, Any]) -> str | None:
    """In what the model differs from one that is built, or read again, with its config."""
    with torch.no_grad():
        before = _run(model, fed)
    if name in FIXED_CHANNELS:
        twin = adapt(models.build(name), in_channels=CHANNELS, num_classes=CLASSES)
        return _reloaded_differs(model, twin, fed, before)
    twin = type(model)(copy.deepcopy(model.config)).eval()
    shapes = {key: tensor.shape for key, tensor in twin.state_dict().items()}
    ours = {key: tensor.shape for key, tensor in model.state_dict().items()}
    if shapes != ours:
        return f"its class has {dict(shapes.items() - ours.items())}, and not {ours.items() - shapes.items()}"
    for (path, module), other in zip(model.named_modules(), twin.modules(), strict=True):
        for key, value in vars(other).items():
            if isinstance(value, int | str | tuple) and getattr(module, key) != value:
                return f"{path}.{key} is {getattr(module, key)}, not {value}"
    return _reloaded_differs(model, twin, fed, before) or _reread_differs(model, fed, before)


def _reloaded_differs(
    model: nn.Module, twin: nn.Module, fed: dict[str, Any], before: dict[str, torch.Tensor]
) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        tg.save(model, Path(folder) / "model.safetensors")
        again = tg.load(Path(folder) / "model.safetensors", model=twin)
    return _unequal(_run(again, fed), before, "torchgraft.load")


def _reread_differs(model: nn.Module, fed: dict[str, Any], before: dict[str, torch.Tensor]) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        written = json.loads((Path(folder) / "config.json").read_text())
        again = _reader(model).from_pretrained(folder).eval()
    if type(again) is not type(model):
        return f"from_pretrained gives a {type(again).__name__}"
    if len(written.get("id2label") or range(model.config.num_labels)) != model.config.num_labels:
        return f"config.json names {written.get('id2label')}"
    return _unequal(_run(again, fed), before, "from_pretrained")


def _reader(model: nn.Module) -> Any:
    """The auto class that knows the model's class; else the class itself."""
    task = type(model).__name__.rpartition("For")[2]
    auto = getattr(transformers, f"AutoModelFor{task}", None)
    known = auto is not None and auto._model_mapping.get(type(model.config), None) is type(model)
    return auto if known else type(model)


def _run(model: nn.Module, fed: dict[str, Any]) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    with torch.no_grad():
        return {key: value for key, value in model(**fed).items() if isinstance(value, torch.Tensor)}


def _unequal(after: dict[str, torch.Tensor], before: dict[str, torch.Tensor], reader: str) -> str | None:
    assert before
    wrong = [key for key in before if not torch.equal(after[key], before[key])]
    return f"after {reader} its {wrong[0]} are others" if wrong else None
