import math

import pytest

from torchgraft.report.measures import (
    higher_is_better,
    is_number,
    is_share,
    measure_name,
    measure_text,
    number_of,
)


@pytest.mark.parametrize(
    ("name", "words", "share", "higher"),
    [
        ("accuracy", "accuracy", True, True),
        ("top5_accuracy", "top5 accuracy", True, True),
        ("macro_f1", "macro F1", True, True),
        ("roc_auc", "ROC AUC", True, True),
        ("mean_iou", "mean IoU", True, True),
        ("mean_average_precision", "mean average precision", True, True),
        ("ece", "calibration error", True, False),
        ("brier", "Brier score", False, False),
        ("log_loss", "log loss", False, False),
        ("mae", "mean absolute error", False, False),
        ("rmse", "root mean squared error", False, False),
        ("r2", "R²", False, True),
    ],
)
def test_what_is_known_of_them(name, words, share, higher):
    assert (measure_name(name), is_share(name), higher_is_better(name)) == (words, share, higher)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.8341, "83.4 %"),
        ("loss", 0.12345, "0.1235"),
        ("loss", 0.0000123, "1.23e-05"),
        ("loss", 0.0, "0.0000"),
        ("mae", 123456.0, "1.235e+05"),
        ("support", 12345, "12,345"),
        ("accuracy", None, "–"),
        ("accuracy", math.nan, "–"),
        ("accuracy", True, "–"),
        ("accuracy", "<b>", "–"),
        ("accuracy", 10**400, "–"),
    ],
)
def test_as_people_read_them(name, value, text):
    assert measure_text(name, value) == text


@pytest.mark.parametrize("value", [None, True, "1", [], math.nan, math.inf, 1e300, 10**400])
def test_what_is_no_number(value):
    assert not is_number(value)
    assert math.isnan(number_of(value))
