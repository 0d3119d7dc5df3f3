"""What a transformers model's config says after surgery, and what is refused in these models."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from torchgraft import AdaptError, AnatomyError, adapt, examine, info_of

transformers = pytest.importorskip("transformers", reason="needs torchgraft[hf]")

from surgery import transformers_models as models  # noqa: E402  # it imports transformers

_BERT = {
    "vocab_size": 60, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16,
}  # fmt: skip


def bert(kind: str = "SequenceClassification", **options: Any) -> nn.Module:
    config = transformers.BertConfig(**_BERT, **options)
    model: nn.Module = getattr(transformers, f"BertFor{kind}")(config)
    return model


def named(*labels: str) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def test_rows_follow_the_names_in_the_config(tmp_path):
    model = bert(**named("negative", "neutral", "positive"))
    old = model.classifier.weight.detach().clone()
    adapt(model, labels=["positive", "mixed", "Negative", "none"])
    new = model.classifier.weight
    assert torch.equal(new[0], old[2])
    assert torch.equal(new[2], old[0])
    assert not any(torch.equal(new[row], kept) for row in (1, 3) for kept in old)
    assert info_of(model).labels == ("positive", "mixed", "Negative", "none")
    model.save_pretrained(tmp_path)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert config.id2label == {0: "positive", 1: "mixed", 2: "Negative", 3: "none"}
    assert config.label2id == {"positive": 0, "mixed": 1, "Negative": 2, "none": 3}


def test_generic_names_are_no_names():
    model = bert(num_labels=3)
    old = model.classifier.weight.detach().clone()
    adapt(model, labels=["LABEL_1", "LABEL_0"])
    assert not any(torch.equal(row, kept) for row in model.classifier.weight for kept in old)
    assert model.config.id2label == {0: "LABEL_1", 1: "LABEL_0"}
    adapt(model, num_classes=3)
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert model.config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}


def test_names_for_a_head_that_keeps_its_size():
    model = bert(num_labels=2)
    kept = model.classifier.weight
    adapt(model, labels=["spam", "ham"])
    assert model.classifier.weight is kept
    assert model.config.id2label == {0: "spam", 1: "ham"}


def test_no_object_stays_the_last_row():
    model = models.build("DetrForObjectDetection")
    model.config.id2label, model.config.label2id = {0: "cat", 1: "dog"}, {"cat": 0, "dog": 1}
    old = model.class_labels_classifier.weight.detach().clone()
    adapt(model, labels=["dog", "emu", "cow"])
    new = model.class_labels_classifier.weight
    assert new.shape == (4, 8)
    assert torch.equal(new[[0, 3]], old[[1, 2]])
    assert model.config.num_labels == 3


def test_a_mask_loss_weighs_the_new_classes():
    model = models.build("Mask2FormerForUniversalSegmentation")
    no_object = float(model.criterion.empty_weight[-1])
    adapt(model, num_classes=5)
    assert model.criterion.empty_weight.tolist() == [1, 1, 1, 1, 1, no_object]


def test_a_config_that_a_part_copied_is_updated_too():
    model = adapt(models.build("CLIPForImageClassification"), in_channels=4)
    assert model.config.vision_config.num_channels == 4
    model = models.build("CLIPForImageClassification")
    copied = copy.deepcopy(model.config.vision_config)  # as some versions of transformers do
    for module in model.vision_model.modules():
        if hasattr(module, "config"):
            module.config = copied
    adapt(model, in_channels=4)
    assert (model.config.vision_config.num_channels, copied.num_channels) == (4, 4)
    model = adapt(models.build("UperNetForSemanticSegmentation"), in_channels=4)
    assert model.config.backbone_config.num_channels == 4


@pytest.mark.parametrize(
    ("old", "new", "problem"), [(1, 3, "regression"), (3, 1, "single_label_classification")]
)
def test_the_loss_is_chosen_anew(old, new, problem):
    model = bert(num_labels=old, problem_type=problem)
    adapt(model, num_classes=new)
    assert model.config.problem_type is None
    target = torch.tensor([2, 0]) if new > 1 else torch.rand(2)
    assert model(input_ids=torch.ones(2, 4, dtype=torch.long), labels=target).loss.isfinite()


def test_two_heads_with_one_weight_keep_one_weight():
    model = models.build("DeformableDetrForObjectDetection")
    first, second = model.class_embed[0], model.class_embed[1]
    assert first.weight is second.weight
    adapt(model, num_classes=5)
    assert first.weight is second.weight
    assert first.weight.shape[0] == second.out_features == 5


@pytest.mark.parametrize(
    ("model", "arguments", "error", "message"),
    [
        (lambda: bert("MultipleChoice"), {"num_classes": 5}, AnatomyError, "1 rows of 'classifier' are"),
        (lambda: bert("QuestionAnswering"), {"num_classes": 5}, AnatomyError, "2 rows of 'qa_outputs' are"),
        (lambda: bert("MaskedLM"), {"num_classes": 5}, AdaptError, "shared with 'bert.embeddings.word_emb"),
        (lambda: bert(), {"in_channels": 4}, AdaptError, "it is an embedding"),
        (
            lambda: transformers.BertModel(transformers.BertConfig(**_BERT)),
            {"num_classes": 5},
            AnatomyError,
            "its outputs are features: last_hidden_state, pooler_output",
        ),
        (lambda: models.build("ASTForAudioClassification"), {"in_channels": 4}, AdaptError, "no axis of"),
        (lambda: models.build("HubertForSequenceClassification"), {"in_channels": 2}, AdaptError, "no axis"),
        (
            lambda: models.build("Siglip2ForImageClassification"),
            {"in_channels": 4},
            AdaptError,
            "takes patches of 192 values",
        ),
        (
            lambda: models.build("PerceiverForImageClassificationFourier"),
            {"in_channels": 4},
            AdaptError,
            "takes 261 channels, but the input",
        ),
    ],
)  # fmt: skip
def test_what_it_refuses(model, arguments, error, message):
    model = model()
    sizes, config = str(model), model.config.to_dict()
    with pytest.raises(error, match=message):
        adapt(model, **arguments)
    assert (str(model), model.config.to_dict()) == (sizes, config)


def test_named_layers_are_taken_as_they_are():
    model = adapt(
        bert("MultipleChoice"), num_classes=3, head="bert.pooler.dense", example=torch.ones(1, 2, 4).long()
    )
    assert model.bert.pooler.dense.out_features == 3


def test_images_beside_words_have_the_channels():
    config = transformers.CLIPConfig(**models.EVERY["CLIPForImageClassification"][1])
    model = adapt(transformers.CLIPModel(config), in_channels=4)
    assert model.vision_model.embeddings.patch_embedding.in_channels == 4
    assert examine(model).heads == ()


def test_timm_inside_of_transformers_is_built_with_the_channels(tmp_path):
    config = transformers.TimmWrapperConfig(architecture="resnet10t", num_labels=7)
    model = adapt(transformers.TimmWrapperForImageClassification(config), in_channels=4, num_classes=5).eval()
    model.save_pretrained(tmp_path)
    again = transformers.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    image = torch.rand(1, 4, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(image).logits, model(image).logits)


def test_a_score_for_each_class_alone_starts_where_the_old_ones_are():
    """A focal loss begins at a low prior probability; from nn.Linear's own biases it would explode."""
    model = models.build("RTDetrForObjectDetection")
    old = model.model.decoder.class_embed[0].bias.mean()
    adapt(model, num_classes=5)
    assert torch.equal(model.model.decoder.class_embed[0].bias, old.repeat(5))
    assert model.model.denoising_class_embed.padding_idx == 5


def test_named_layers_need_no_run():
    with torch.device("meta"):
        model = models.build("BartForSequenceClassification")
    with pytest.raises(AnatomyError, match="could not be run"):  # it looks for the end of the sequence
        adapt(model, num_classes=5)
    adapt(model, num_classes=5, head="classification_head.out_proj")
    assert (model.classification_head.out_proj.weight.shape[0], model.config.num_labels) == (5, 5)
