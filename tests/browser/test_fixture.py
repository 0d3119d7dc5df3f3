from __future__ import annotations

import pytest


def test_what_a_page_says_and_asks_for_is_heard(page, heard):
    page.set_content("<script>console.error('said')</script><script>throw Error('thrown')</script>")
    page.evaluate("fetch('http://127.0.0.1:9/x').catch(() => 0)")
    assert "said" in heard.errors
    assert any("thrown" in error for error in heard.errors)
    assert heard.requests == ["http://127.0.0.1:9/x"]
    heard.errors.clear()
    heard.requests.clear()


def test_axe_finds_what_is_wrong(page, axe):
    page.set_content("<html lang=en><title>x</title><main><h1>x</h1><img src='data:,'></main>")
    assert any("image-alt" in line for line in axe(page))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_of_ones_own(open_page, scheme):
    page = open_page(color_scheme=scheme, viewport={"width": 360, "height": 640})
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
    assert page.evaluate("innerWidth") == 360
