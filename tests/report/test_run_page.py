import math

from torchgraft.finetuning import ClassScore, Epoch, Evaluation, FinetuneResult
from torchgraft.report.page import render_html, run_charts, run_page


def result(**changes) -> FinetuneResult:
    scores = Evaluation(
        count=10, accuracy=0.8, balanced_accuracy=0.75, macro_f1=0.77, log_loss=0.4, roc_auc=0.9,
        per_class=(ClassScore("cat", 0.8, 0.8, 0.8, 5), ClassScore("dog", 0.8, 0.8, 0.8, 5)),
        confusion=((4, 1), (1, 4)),
    )  # fmt: skip
    history = tuple(Epoch(i, 1 / i, 1.1 / i, 0.5 + i / 10, 0.5, 0.1, 1.0) for i in (1, 2, 3))
    about = {
        "recipe": "full",
        "classes": ("cat", "dog"),
        "history": history,
        "best_epoch": 3,
        "evaluation": scores,
    }
    return FinetuneResult(model=None, counts={"train": 40, "val": 10, "skipped": 1}, **{**about, **changes})


def test_a_run_as_a_page():
    html = render_html(
        run_page(result(skipped=("bad.jpg",), adapted="head: 1000→2"), title="A run", facts=(("model", "m"),))
    )
    for wanted in (
        "A run",
        "80.0 %",
        "75.0 %",
        "3 epochs",
        "bad.jpg",
        "head: 1000→2",
        "40 to train",
        "8 of 10 examples right",
    ):
        assert wanted in html


def test_charts_hold_the_histories():
    runs = {"a": [result().history, result().history], "b": [result().history[:1]]}
    accuracy, loss = run_charts(runs)
    assert [curve.label for curve in accuracy.curves] == ["a", "a", "b"]
    assert accuracy.curves[0].values == (0.6, 0.7, 0.8)
    assert [curve.training for curve in loss.curves] == [False] * 3 + [True] * 3
    assert loss.curves[3].values == (1.0, 1 / 2, 1 / 3)


def test_a_run_without_a_loss_is_shown():
    history = (Epoch(1, math.nan, math.nan, 0.5, 0.5, None, 0.1),)
    assert "A run" in render_html(run_page(result(history=history, best_epoch=1), title="A run"))
