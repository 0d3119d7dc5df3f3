import pytest

from torchgraft.report.page import Page, render_html
from torchgraft.report.page.calibration import CalibrationSection, ConfidenceBin

SURE = ConfidenceBin(0.8, 1.0, 30, 0.9, 0.6)
UNSURE = ConfidenceBin(0.4, 0.6, 10, 0.5, 0.9)
EMPTY = ConfidenceBin(0.0, 0.2, 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("bins", "error", "said"),
    [
        ((SURE,), None, "On the whole it is too sure, by 30.0 points."),
        (
            (UNSURE,),
            0.4,
            "On the whole it is not sure enough, by 40.0 points. Expected calibration error: 40.0 %.",
        ),
        (
            (SURE, UNSURE),
            0.325,
            "On the whole it is too sure, by 12.5 points. Expected calibration error: 32.5 %.",
        ),
        ((ConfidenceBin(0, 1, 5, 0.7, 0.7),), None, "On the whole it is about as sure as it is right."),
        ((EMPTY,), None, "On the whole it is about as sure as it is right."),
    ],
)
def test_the_verdict(bins, error, said):
    view = CalibrationSection(bins, error).view()
    assert view["sentence"] == said
    assert len(view["bars"]) == len([each for each in bins if each.count])
    assert said in render_html(Page("t", "", (CalibrationSection(bins, error),)))


def test_bars_stand_where_the_numbers_are():
    view = CalibrationSection((UNSURE, SURE)).view()
    size, top, left = view["size"], view["top"], view["left"]
    for each, bar in zip((UNSURE, SURE), view["bars"], strict=True):
        assert bar["right_y"] == pytest.approx(top + size * (1 - each.accuracy), abs=0.1)
        assert bar["gap_height"] == pytest.approx(size * abs(each.accuracy - each.confidence), abs=0.1)
        assert bar["gap_y"] + bar["gap_height"] == pytest.approx(bar["y"], abs=0.1)
        assert bar["y"] + bar["height"] == pytest.approx(view["bottom"], abs=0.1)
        assert bar["x"] == pytest.approx(left + size * each.low + 1, abs=0.1)
    low, high = (bar["count_height"] for bar in view["bars"])
    assert low / high == pytest.approx(1 / 3, abs=0.01)
