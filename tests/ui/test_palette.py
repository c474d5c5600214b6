"""Colours that can be read."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from studio.ui.palette import DARK, LIGHT, PAIRS, Palette, contrast, variables
from studio.ui.texts import ASSETS


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_has_a_contrast_of_at_least_four_and_a_half(palette, text, ground):
    assert contrast(getattr(palette, text), getattr(palette, ground)) >= 4.5


def test_contrast_of_black_and_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#777777") == pytest.approx(1)


def test_style_sheet_uses_no_colour_that_the_palette_does_not_have():
    css = (ASSETS / "studio.css").read_text(encoding="utf-8")
    used = set(re.findall(r"var\(--vs-([a-z-]+)\)", css)) - {"die"}
    assert used <= {f.name.replace("_", "-") for f in fields(Palette)}
    assert not re.search(r"#[0-9a-f]{3,8}\b(?![^{]*\{)", re.sub(r"#[a-z0-9-]+[^;{}]*\{", "{", css))
    assert "--vs-text:" in variables()
