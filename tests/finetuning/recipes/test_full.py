import math

import pytest
import torch
from torch import nn

from torchgraft.errors import TrainingError
from torchgraft.finetuning import finetune
from torchgraft.finetuning.fitting.schedule import warmup_cosine

FAST = {"recipe": "full", "lr": 0.02, "epochs": 4, "head_lr": 1.0}


def test_learns_every_parameter(tiny, memory):
    model = tiny()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    result = finetune(model, memory, **FAST)
    assert result.evaluation.accuracy == 1.0
    assert not any(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert result.trainable == result.total
    assert not model.training
    assert all(value.is_contiguous() for value in model.state_dict().values())
    assert not any("accelerate" in name for name in vars(model))


def test_same_seed_same_bits_other_seed_other_bits(tiny, memory):
    def run(seed: int) -> tuple[dict, list]:
        model = tiny(classes=3)  # a new head is drawn too
        result = finetune(model, memory, **FAST, seed=seed)
        return model.state_dict(), [(e.train_loss, e.val_loss) for e in result.history]

    torch.manual_seed(1)
    weights, losses = run(seed=5)
    torch.manual_seed(2)
    again, again_losses = run(seed=5)
    assert losses == again_losses
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    assert run(seed=6)[1] != losses


def test_the_callers_random_numbers_are_left_alone(tiny, memory):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    finetune(tiny(classes=3), memory, **FAST)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_best_epochs_weights_are_kept(tiny, memory):
    """A learning rate that ruins the model later on: the result is the best epoch's all the same."""
    from torchgraft.finetuning import evaluate
    from torchgraft.finetuning.images import parts_of, split

    model = tiny()
    result = finetune(model, memory, **FAST | {"lr": 0.5, "epochs": 6}, clip=None)
    best = max(result.history, key=lambda e: (e.val_accuracy, -e.val_loss))
    assert result.best_epoch == best.epoch
    val = split(parts_of(memory)["all"], 0.2, 0)[1]
    assert evaluate(model, val).log_loss == pytest.approx(best.val_loss, rel=1e-4)
    assert result.evaluation.log_loss == pytest.approx(best.val_loss, rel=1e-6)


def test_patience_ends_the_run(tiny, memory):
    result = finetune(tiny(), memory, **FAST | {"epochs": 40}, patience=2)
    assert len(result.history) == result.best_epoch + 2


@pytest.mark.parametrize(("max_steps", "epochs"), [(1, 1), (2, 1), (3, 2)])
def test_max_steps(tiny, memory, max_steps, epochs):
    steps = []
    finetune(
        tiny(),
        memory,
        **FAST,
        max_steps=max_steps,
        on_event=lambda event: steps.append(event.step) if event.stage == "training" else None,
    )
    assert steps == list(range(1, max_steps + 1))
    assert -(-max_steps // 2) == epochs


@pytest.mark.parametrize(
    ("freeze_bn", "learned", "moves"),
    [(None, False, True), (None, True, False), (True, False, False), (False, True, True)],
)
def test_batch_norm_that_has_learned_stays_frozen_by_default(tiny, memory, freeze_bn, learned, moves):
    model = tiny()
    if learned:
        nn.init.constant_(model.bn.running_mean, 0.1)
    before = {k: v.clone() for k, v in model.bn.state_dict().items()}
    finetune(model, memory, **FAST, freeze_bn=freeze_bn)
    assert moves is not all(torch.equal(before[k], v) for k, v in model.bn.state_dict().items())


def test_parameters_frozen_by_the_user_stay_so(tiny, memory):
    model = tiny()
    model.stem.requires_grad_(False)
    before = model.stem.weight.clone()
    result = finetune(model, memory, **FAST)
    assert torch.equal(model.stem.weight, before)
    assert result.trainable == 18 + 16
    model.requires_grad_(False)
    with pytest.raises(TrainingError, match="no parameter"):
        finetune(model, memory, **FAST)


def test_a_single_photo_left_over_does_not_break_batch_norm(tiny, memory):
    result = finetune(tiny(), memory, **FAST, batch_size=51, freeze_bn=False)  # 52 to train
    assert math.isfinite(result.history[-1].train_loss)


class Flat(nn.Module):
    """Batch normalisation over vectors can't do with one photo."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.bn(self.stem(x).mean(dim=(2, 3))))


def test_batches_of_one(memory, tiny):
    from torchgraft.model_info import attach_info, info_of

    model = Flat()
    attach_info(model, info_of(tiny()))
    with pytest.raises(TrainingError, match="can't learn from a batch of 1") as caught:
        finetune(model, memory, **FAST, batch_size=1)
    assert "freeze_bn=True" in (caught.value.hint or "")


def test_a_loss_that_is_no_number_names_the_step(tiny, memory):
    model = tiny()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"became (nan|inf) in step \d+ \(epoch \d+\)") as caught:
        finetune(model, memory, **FAST | {"lr": 1e30, "epochs": 30}, clip=None, augment=False)
    assert caught.value.hint == "try lr=1e+29"
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    assert before.keys() == model.state_dict().keys()


def test_in_memory_photos_of_one_channel(tiny, memory):
    grey = [photo.mean(axis=2).astype("uint8") for photo in memory[0]]
    assert finetune(tiny(channels=1), (grey, memory[1]), **FAST).evaluation.accuracy == 1.0


def test_schedule():
    shares = [warmup_cosine(step, total=110, warmup=10) for step in range(110)]
    assert shares[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert shares[10] == 1.0
    assert shares[60] == pytest.approx(0.5)
    assert 0 < shares[-1] < 0.001
    assert shares[10:] == sorted(shares[10:], reverse=True)


def test_the_same_weights_as_a_plain_loop_bit_for_bit(tiny, memory):
    """The oracle: PyTorch alone. No augmentation, and the last epoch's weights."""
    from torchgraft.finetuning.images import parts_of
    from torchgraft.finetuning.images.splitting import split
    from torchgraft.finetuning.inputs.input_tensor import evaluation_input
    from torchgraft.model_info import info_of

    ours, plain = tiny(), tiny()
    settings = {"lr": 0.01, "epochs": 3, "head_lr": 4.0, "weight_decay": 0.1, "batch_size": 16}
    result = finetune(ours, memory, recipe="full", augment=False, seed=3, channels_last=False, **settings)
    assert result.best_epoch == 3

    train = split(parts_of(memory)["all"], 0.2, 3)[0]
    how = info_of(plain).preprocessing
    images = torch.stack([evaluation_input(train.image(i, 3), how) for i in range(len(train))])
    labels = torch.tensor(train.labels)
    groups = [
        {"params": [plain.stem.bias, plain.bn.weight, plain.bn.bias], "lr": 0.01, "weight_decay": 0.0},
        {"params": [plain.stem.weight], "lr": 0.01, "weight_decay": 0.1},
        {"params": [plain.head.bias], "lr": 0.04, "weight_decay": 0.0},
        {"params": [plain.head.weight], "lr": 0.04, "weight_decay": 0.1},
    ]
    peaks = [group["lr"] for group in groups]
    optimizer = torch.optim.AdamW(groups, fused=True)
    plain.train()
    step, total = 0, 3 * math.ceil(len(train) / 16)
    for epoch in (1, 2, 3):
        generator = torch.Generator().manual_seed(3 * 1_000_003 + epoch)
        for chosen in torch.randperm(len(train), generator=generator).split(16):
            warm = round(0.1 * total)
            share = (step + 1) / (warm + 1)
            if step >= warm:
                share = 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * share
            optimizer.zero_grad()
            nn.functional.cross_entropy(plain(images[chosen]), labels[chosen]).backward()
            nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 1.0)
            optimizer.step()
            step += 1
    expected = plain.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in ours.state_dict().items())
