"""The matrices are what `torch.nn.functional.interpolate` does, also for maps one pixel wide."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from torchgraft.adapting.resampling import arguments_of, axis_matrix, resampled

MODES = ["bicubic", "bilinear", "nearest", "interpolate", "corners", "linear"]


@pytest.mark.parametrize("how", MODES)
@pytest.mark.parametrize(("old", "new"), [(6, 9), (9, 6), (5, 5), (4, 13), (7, 2)])
def test_one_matrix_an_axis(how, old, new):
    maps = torch.randn(2, 3, old, old + 1, dtype=torch.float64)
    mode, antialias, corners = arguments_of(how)
    theirs = functional.interpolate(
        maps, size=(new, new + 2), mode=mode, antialias=antialias, align_corners=corners
    )
    ours = axis_matrix(old, new, how) @ maps @ axis_matrix(old + 1, new + 2, how).t()
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(resampled(maps, (new, new + 2), how), theirs)


@pytest.mark.parametrize("how", MODES)
def test_a_column_is_resampled_as_one_of_many(how):
    """PyTorch's antialiased kernel gives the first row again and again for maps one pixel wide."""
    column = torch.randn(1, 2, 14, 1)
    wide = resampled(column.expand(-1, -1, -1, 3).contiguous(), (24, 3), how)
    torch.testing.assert_close(resampled(column, (24, 1), how), wide[..., :1])


def test_kept_matrices_do_not_depend_on_where_they_were_first_asked_for():
    axis_matrix.cache_clear()
    with torch.device("meta"), torch.inference_mode():
        matrices = [axis_matrix(5, 9, how) for how in ("bicubic", "geometric")]
    assert all(matrix.device.type == "cpu" and not matrix.is_inference() for matrix in matrices)


@pytest.mark.parametrize(("old", "new"), [(13, 23), (13, 9), (27, 47), (3, 7), (1, 5)])
def test_near_offsets_stay_where_they_are(old, new):
    matrix = axis_matrix(old, new, "geometric")
    torch.testing.assert_close(matrix.sum(1), torch.ones(new, dtype=torch.float64))
    expected = torch.zeros(3, old, dtype=torch.float64)
    for row in range(3):
        expected[row, max(0, min(old - 1, old // 2 + row - 1))] = 1
    torch.testing.assert_close(matrix[new // 2 - 1 : new // 2 + 2], expected, atol=1e-2, rtol=0)
