import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sklearn.metrics import accuracy_score, confusion_matrix

from torchgraft.report.confusions import Confusions
from torchgraft.report.terminal import (
    Guesses,
    evaluation_view,
    history_view,
    mistakes_view,
    numbers_view,
    parts_view,
    predictions_view,
)


def seen(renderable: object, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(renderable)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").split("\n"))


def test_evaluation():
    text = seen(
        evaluation_view(
            {"accuracy": 0.895, "log_loss": 0.2512},
            labels=("functional", "defective"),
            confusion=((268, 21), (34, 202)),
        )
    )
    assert (
        text
        == """\
  accuracy  89.5 %
  log loss  0.2512

  true ↓  predicted →  functional  defective   right
  functional                  268         21  92.7 %
  defective                    34        202  85.6 %"""
    )


def test_many_classes_give_the_worst_pairs():
    counts = np.diag([50] * 30)
    counts[3, 7], counts[8, 1] = 9, 4
    text = seen(
        evaluation_view({"accuracy": 0.9}, labels=[f"c{i}" for i in range(30)], confusion=counts.tolist())
    )
    assert "c3                   c7         9 times of 59" in text
    assert text.index("c3 ") < text.index("c8 ")
    assert "c29" not in text


def test_history_marks_the_kept_epoch():
    epochs = [
        {"epoch": 1, "train_loss": 0.7, "val_accuracy": 0.5, "lr": None, "seconds": 1.25},
        {"epoch": 2, "train_loss": 0.31234, "val_accuracy": 1.0, "lr": 0.0003, "seconds": 1.0},
    ]
    assert (
        seen(history_view(epochs, best=1))
        == """\
   epoch  train loss  val accuracy      lr  seconds
       1      0.7000        50.0 %       –      1.2
▸      2      0.3123         100 %  0.0003      1.0"""
    )


def test_predictions_with_and_without_the_truth():
    cat = Guesses("cat.jpg", (("tabby", 0.9), ("lynx", 0.1)), truth="tabby")
    dog = Guesses("dog.jpg", (("wolf", 0.5),), truth="dog")
    judged = seen(predictions_view([cat, dog]))
    assert [line[:1] for line in judged.splitlines()[1:]] == ["✓", " ", "✗"]
    plain = seen(predictions_view([Guesses("cat.jpg", (("tabby", 0.9),))]))
    assert "✓" not in plain
    assert "true" not in plain


@pytest.mark.parametrize("text", ["[red]x[/red]", "\x1b[31mx"])
def test_labels_are_shown_and_not_obeyed(text):
    shown = seen(predictions_view([Guesses(text, ((text, 1.0),), truth=text)]), 200)
    shown += seen(evaluation_view({text: 1.0}, labels=(text, "b"), confusion=((1, 0), (0, 1))), 200)
    assert "\x1b" not in shown
    assert shown.count(text.replace("\x1b", "\\x1b")) >= 5


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_confusions_agree_with_scikit_learn(pairs):
    truth, guess = zip(*pairs, strict=True)
    matrix = confusion_matrix(truth, guess, labels=range(5))
    counted = Confusions.of((), matrix.tolist())
    assert counted.right / counted.total == pytest.approx(accuracy_score(truth, guess))
    shares = confusion_matrix(truth, guess, labels=range(5), normalize="true")
    assert [[counted.share(i, j) for j in range(5)] for i in range(5)] == pytest.approx(shares)
    worst = counted.worst(100)
    assert {(t, g) for t, g in pairs if t != g} == set(worst)
    assert [matrix[pair] for pair in worst] == sorted((matrix[pair] for pair in worst), reverse=True)


@pytest.mark.parametrize(("labels", "counts"), [(("a",), ((1, 2), (3, 4))), ((), ((1, 2),))])
def test_a_matrix_that_does_not_fit_is_refused(labels, counts):
    with pytest.raises(ValueError, match=r"labels|square"):
        Confusions.of(labels, counts)


def test_a_folder_that_all_images_share_is_not_repeated() -> None:
    paths = ("/data/photos/a/cat.jpg", "/data/photos/b/cat.jpg")
    shown = seen(predictions_view([Guesses(path, (("tabby", 0.9),)) for path in paths]))
    assert "a/cat.jpg" in shown
    assert "b/cat.jpg" in shown
    assert "data" not in shown
    assert "img/cat.jpg" in seen(predictions_view([Guesses("img/cat.jpg", (("tabby", 0.9),))]))


def test_the_classes_one_by_one() -> None:
    parts = [
        {"name": "cat", "precision": 0.51234, "support": 1200},
        {"name": "dog", "precision": None, "support": 0},
    ]
    assert (
        seen(parts_view(parts))
        == """\
  class  precision  support
  cat       0.5123    1,200
  dog            –        0"""
    )


def test_of_many_classes_the_lowest() -> None:
    shown = seen(parts_view([{"name": f"c{i}", "iou": 1 - i / 100 if i else None} for i in range(60)]))
    lines = shown.splitlines()
    assert lines[0].startswith("  lowest 40 of 60")
    assert [line.split()[0] for line in lines[1:]] == [f"c{i}" for i in range(59, 19, -1)]


def test_mistakes() -> None:
    one = {"name": "a/1.jpg", "truth": "cat", "guess": "dog", "probability": 0.9, "loss": 2.30259}
    shown = seen(mistakes_view([one, {**one, "name": "\x1b[31m", "probability": None}]))
    assert "  a/1.jpg        cat   dog          90.0 %  2.303" in shown
    assert "\\x1b[31m" in shown


def test_numbers_and_shares() -> None:
    rows = [("/d/a.png", {"far": 1234.5678, "near": -0.5}), ("/d/b.png", {"far": 2.0, "near": 7.0})]
    assert (
        seen(numbers_view(rows))
        == """\
image   far  near
a.png  1235  -0.5
b.png     2     7"""
    )
    shown = seen(numbers_view([("x", {"ground": 0.2, "sky": 0.8})], shares=True))
    assert shown.splitlines() == ["image     sky  ground", "x      80.0 %  20.0 %"]
