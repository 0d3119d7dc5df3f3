import math

import pytest

from torchgraft.finetuning.heads.strength import search_strength, steadied


@pytest.mark.parametrize("power", [-5.0, -4.6, -1.0, 0.3, 1.875, 3.0])
def test_finds_the_bottom_of_a_bowl_to_an_eighth_of_a_decade(power):
    """CLIP's search (A.3): coarse first, then halving around the best one down to 8 steps a decade."""
    asked = []

    def loss(strength: float) -> float:
        asked.append(strength)
        return (math.log10(strength) - power) ** 2

    found, tried = search_strength(loss)
    assert abs(math.log10(found) - power) <= 0.125
    assert len(asked) == len(set(asked)) == len(tried) == 13
    assert [math.log10(strength) for strength in asked[:5]] == pytest.approx([-5, -3, -1, 1, 3])
    assert tried[found] == min(tried.values())


def test_of_equals_the_strongest():
    found, _ = search_strength(lambda strength: 0.0)
    assert found > 1e3


def test_few_images_are_not_believed():
    assert steadied(100.0, 0) == 1.0
    assert steadied(100.0, 20) == pytest.approx(10.0)
    assert steadied(1e-4, 20) == pytest.approx(1e-2)
    assert steadied(100.0, 10**6) == pytest.approx(100.0, rel=1e-3)
