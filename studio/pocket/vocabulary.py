"""What the pocket world consists of: the attributes of a scene and of a person.

Drawing, captions, training and judging all speak of these values and of nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

SIZES = ("small", "large")
SHAPES = ("ball", "square", "triangle", "star", "heart")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "pink")
MOTIONS = (
    "moves left",
    "moves right",
    "rises",
    "falls",
    "bounces",
    "spins",
    "grows",
    "shrinks",
    "stays still",
)
PLACES = ("meadow", "sea", "desert", "city")
LIGHTS = ("day", "sunset", "night")
CAMERAS = ("static", "pans left", "pans right", "zooms in", "zooms out")

SKINS = ("pale", "tan", "brown", "dark")
HAIR_STYLES = ("long", "short", "fringe")
HAIR_COLOURS = ("black", "brown", "red", "blond")
CLOTHES = ("red", "blue", "green", "yellow", "grey")
EYES = ("blue", "green", "brown")
BACKGROUNDS = ("green", "blue", "grey", "orange")

SIZE_PX = 128
FPS = 12.5
CLIP_FRAMES = 25


@dataclass(frozen=True)
class Scene:
    """One object in one place, as a caption names it."""

    size: str
    shape: str
    colour: str
    motion: str
    place: str
    light: str
    camera: str


@dataclass(frozen=True)
class Person:
    """One head with shoulders, as a caption names it."""

    skin: str
    hair_style: str
    hair_colour: str
    clothes: str
    eyes: str
    background: str


def valid(scene: Scene) -> bool:
    """Whether the world can show `scene`: a ball does not spin."""
    return not (scene.shape == "ball" and scene.motion == "spins")
