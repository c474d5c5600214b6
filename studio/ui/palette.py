"""The palette: every colour of the studio, for light and dark, as CSS variables.

Text on its ground has a contrast of at least 4.5 : 1 in both (tested).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Palette:
    """The colours of one mode, by what they are for."""

    ground: str
    surface: str
    sunken: str
    line: str
    control: str
    text: str
    muted: str
    accent: str
    accent_hover: str
    on_accent: str
    accent_soft: str
    on_accent_soft: str
    danger: str
    danger_soft: str
    good: str
    warn: str
    warn_soft: str


LIGHT = Palette(
    ground="#f5f4f0",
    surface="#ffffff",
    sunken="#eeece6",
    line="#dedad1",
    control="#8a867c",
    text="#1e2227",
    muted="#5a5f68",
    accent="#0e665d",
    accent_hover="#0a5049",
    on_accent="#ffffff",
    accent_soft="#dcefeb",
    on_accent_soft="#0a4c45",
    danger="#a5281f",
    danger_soft="#fbe9e7",
    good="#1c6b3a",
    warn="#7d5200",
    warn_soft="#fbf1dc",
)
DARK = Palette(
    ground="#131519",
    surface="#1b1e24",
    sunken="#101216",
    line="#323741",
    control="#737b88",
    text="#eceef1",
    muted="#a8afba",
    accent="#62cbb9",
    accent_hover="#86dccd",
    on_accent="#05231f",
    accent_soft="#17352f",
    on_accent_soft="#a6e6da",
    danger="#ff9d92",
    danger_soft="#3a1f1d",
    good="#84d8a0",
    warn="#f0c466",
    warn_soft="#352a12",
)
PAIRS = (
    ("text", "ground"),
    ("text", "surface"),
    ("text", "sunken"),
    ("muted", "ground"),
    ("muted", "surface"),
    ("muted", "sunken"),
    ("on_accent", "accent"),
    ("on_accent", "accent_hover"),
    ("on_accent_soft", "accent_soft"),
    ("accent", "surface"),
    ("danger", "surface"),
    ("danger", "danger_soft"),
    ("good", "surface"),
    ("warn", "surface"),
    ("warn", "warn_soft"),
)
"""(text, ground) pairs that the style sheet uses."""


def contrast(one: str, other: str) -> float:
    """The WCAG contrast ratio of two #rrggbb colours, 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def variables(dark: str = ".dark") -> str:
    """The palettes as CSS variables; `dark` is the selector of dark mode."""
    return f":root{{{_block(LIGHT)}}}\n{dark}{{{_block(DARK)}}}\n"


def _block(palette: Palette) -> str:
    return "".join(
        f"--vs-{name.replace('_', '-')}:{colour};" for name, colour in asdict(palette).items()
    )
