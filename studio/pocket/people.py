"""Draw the people of the pocket world: one or two heads whose mouths follow a track.

The figures are drawn once without eyes and mouth and moved as they sway; eyes and mouth
are drawn into every frame. A mouth opening of 1 is as tall as the chin allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.pocket.vocabulary import CLIP_FRAMES, FPS, SIZE_PX, Person

SKIN = {
    "pale": (246, 214, 188),
    "tan": (222, 164, 118),
    "brown": (158, 104, 68),
    "dark": (96, 62, 44),
}
HAIR = {
    "black": (34, 28, 28),
    "brown": (100, 62, 34),
    "red": (182, 70, 34),
    "blond": (236, 204, 112),
}
CLOTH = {
    "red": (206, 58, 58),
    "blue": (48, 88, 206),
    "green": (52, 150, 82),
    "yellow": (242, 204, 66),
    "grey": (92, 92, 100),
}
EYE = {"blue": (44, 92, 214), "green": (44, 142, 72), "brown": (96, 58, 30)}
WALL = {
    "green": ((212, 240, 214), (146, 204, 160)),
    "blue": ((206, 230, 250), (146, 188, 230)),
    "grey": ((236, 236, 238), (196, 196, 204)),
    "orange": ((252, 232, 204), (240, 190, 138)),
}
LIP, INNER, TEETH = (192, 74, 86), (84, 14, 30), (250, 248, 244)
EDGE = 16


@dataclass(frozen=True)
class Figures:
    """A clip and the truth about it.

    frames uint8 [T,128,128,3]; faces and mouths float [speakers,T,4] as x0, y0, x1, y1.
    """

    frames: np.ndarray
    faces: np.ndarray
    mouths: np.ndarray


def draw_person(
    people: Sequence[Person],
    mouths: np.ndarray,
    rng: np.random.Generator,
    frames: int = CLIP_FRAMES,
) -> np.ndarray:
    """A clip of one or two people as uint8 [T,128,128,3]; mouths [speakers,T] in 0..1."""
    return draw_figures(people, mouths, rng, frames).frames


def draw_figures(
    people: Sequence[Person],
    mouths: np.ndarray,
    rng: np.random.Generator,
    frames: int = CLIP_FRAMES,
) -> Figures:
    """As `draw_person`, with the boxes of faces and mouths."""
    mouths = np.asarray(mouths, np.float32).reshape(len(people), -1)[:, :frames]
    video = np.repeat(_wall(people[0].background)[None], frames, 0)
    scale = 1.0 if len(people) == 1 else 0.66
    places = [64.0] if len(people) == 1 else [34.0, 94.0]
    faces = np.zeros((len(people), frames, 4))
    lips = np.zeros((len(people), frames, 4))
    for index, person in enumerate(people):
        x = places[index]
        y = 60.0 if len(people) == 1 else 70.0
        sway = _sway(rng, frames)
        colour, cover = _bust(person, x, y, scale)
        for frame in range(frames):
            dx, dy = sway[frame]
            paint, alpha = _shift(colour, dx, dy), _shift(cover, dx, dy)
            video[frame] += alpha * (paint - video[frame])
        blink = _blinks(rng, frames)
        for frame in range(frames):
            at = (x + sway[frame, 0], y + sway[frame, 1])
            _eyes(video[frame], person, at, scale, blink[frame])
            faces[index, frame] = _box(at, (0.0, 2.0), (27.0, 34.0), scale)
            lips[index, frame] = _box(at, (0.0, 18.5), (14.0, 11.0), scale)
            _mouth(video[frame], at, scale, float(mouths[index, frame]))
    return Figures(np.clip(video + 0.5, 0, 255).astype(np.uint8), faces, lips)


def talking(rng: np.random.Generator, frames: int) -> np.ndarray:
    """A random mouth track [T] in 0..1 with syllables and pauses, as speech gives."""
    time = np.arange(frames) / FPS
    rate, phase = rng.uniform(2.2, 3.4), rng.uniform(0, 2 * np.pi)
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * rate * time + phase + rng.normal(0, 0.3, frames))
    loudness = np.interp(
        time, np.arange(0, time[-1] + 1.0, 0.4), rng.uniform(0.3, 1.1, _knots(time))
    )
    voiced = np.interp(
        time, np.arange(0, time[-1] + 1.0, 0.4), (rng.random(_knots(time)) > 0.25) * 1.0
    )
    return np.clip(syllables * loudness * voiced, 0.0, 1.0)


def _knots(time: np.ndarray) -> int:
    return len(np.arange(0, time[-1] + 1.0, 0.4))


def _wall(name: str) -> np.ndarray:
    top, bottom = (np.array(c, np.float32) for c in WALL[name])
    part = (np.arange(SIZE_PX, dtype=np.float32) / SIZE_PX)[:, None, None]
    return np.broadcast_to(top * (1 - part) + bottom * part, (SIZE_PX, SIZE_PX, 3)).copy()


def _sway(rng: np.random.Generator, frames: int) -> np.ndarray:
    """A small slow movement of the head, [T,2] pixels."""
    time = np.arange(frames) / FPS
    phases, periods = rng.uniform(0, 2 * np.pi, 2), rng.uniform(1.8, 2.6, 2)
    wave = np.sin(2 * np.pi * time[:, None] / periods + phases)
    return wave * np.array((2.0, 1.0))


def _blinks(rng: np.random.Generator, frames: int) -> np.ndarray:
    """How far the eyes are closed, [T]: now and then for three frames."""
    closed = np.zeros(frames)
    at = int(rng.integers(0, 30))
    while at < frames:
        for step, value in ((-1, 0.6), (0, 1.0), (1, 0.6)):
            if 0 <= at + step < frames:
                closed[at + step] = value
        at += int(rng.integers(20, 40))
    return closed


def _cover(distance: np.ndarray) -> np.ndarray:
    part = np.clip(0.5 - distance / 1.4, 0.0, 1.0)
    return (part * part * (3.0 - 2.0 * part))[..., None].astype(np.float32)


def _ellipse(x: np.ndarray, y: np.ndarray, rx: float, ry: float) -> np.ndarray:
    """About the distance to an ellipse about the origin."""
    length = np.hypot(x / rx, y / ry)
    return (length - 1.0) * length / np.maximum(np.hypot(x / rx**2, y / ry**2), 1e-6)


def _bust(person: Person, cx: float, cy: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The figure without eyes and mouth with EDGE pixels around: colours and cover."""
    size = SIZE_PX + 2 * EDGE
    grid = np.arange(size, dtype=np.float32) + 0.5 - EDGE
    x, y = (grid[None, :] - cx) / scale, (grid[:, None] - cy) / scale
    colour, cover = np.zeros((size, size, 3), np.float32), np.zeros((size, size, 1), np.float32)

    def lay(distance: np.ndarray, rgb: np.ndarray) -> None:
        part = _cover(distance * scale)
        np.add(cover, part * (1 - cover), out=cover)
        np.add(colour, np.maximum(part, cover < 1e-3) * (rgb - colour), out=colour)

    skin, hair = (
        np.array(SKIN[person.skin], np.float32),
        np.array(HAIR[person.hair_colour], np.float32),
    )
    if person.hair_style == "long":
        lay(_ellipse(x, y - 4.0, 36.0, 46.0), hair)
    lay(
        np.maximum(_ellipse(x, y - 76.0, 46.0, 42.0), -200.0 + 0 * y),
        np.array(CLOTH[person.clothes], np.float32),
    )
    lay(np.maximum(np.abs(x) - 9.0, np.abs(y - 32.0) - 12.0), skin * 0.86)
    if person.hair_style != "long":
        lay(_ellipse(x, y + 6.0, 31.0, 35.0), hair)
    lay(_ellipse(x, y - 2.0, 27.0, 33.0), skin)
    crown = {"long": -19.0, "short": -21.0, "fringe": -12.0}[person.hair_style]
    lay(np.maximum(_ellipse(x, y + 2.0, 30.0, 34.0), y - crown), hair)
    brow = np.minimum(_bar(x - 11.0, y + 8.5, 5.5), _bar(x + 11.0, y + 8.5, 5.5))
    lay(brow, np.minimum(hair, skin * 0.55))
    lay(_ellipse(x, y - 7.0, 2.6, 3.4), skin * 0.82)
    return colour, cover


def _bar(x: np.ndarray, y: np.ndarray, half: float) -> np.ndarray:
    return np.maximum(np.abs(x) - half, np.abs(y) - 1.1)


def _shift(picture: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """The middle of `picture`, moved by a part of a pixel or more."""
    left, top = int(np.floor(-dx)), int(np.floor(-dy))
    fx, fy = np.float32(-dx - left), np.float32(-dy - top)
    block = picture[EDGE + top : EDGE + top + SIZE_PX + 1, EDGE + left : EDGE + left + SIZE_PX + 1]
    rows = block[:-1] + fy * (block[1:] - block[:-1])
    return rows[:, :-1] + fx * (rows[:, 1:] - rows[:, :-1])


def _box(
    at: tuple[float, float], middle: tuple[float, float], half: tuple[float, float], scale: float
) -> tuple[float, float, float, float]:
    x, y = at[0] + middle[0] * scale, at[1] + middle[1] * scale
    return x - half[0] * scale, y - half[1] * scale, x + half[0] * scale, y + half[1] * scale


def _patch(
    picture: np.ndarray,
    at: tuple[float, float],
    middle: tuple[float, float],
    half: tuple[float, float],
    scale: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A view of the picture about a feature, with head coordinates about its middle."""
    x0, y0, x1, y1 = (int(np.clip(np.floor(v), 0, SIZE_PX)) for v in _box(at, middle, half, scale))
    x = (np.arange(x0, x1, dtype=np.float32) + 0.5 - at[0]) / scale - middle[0]
    y = (np.arange(y0, y1, dtype=np.float32) + 0.5 - at[1]) / scale - middle[1]
    return picture[y0:y1, x0:x1], x[None, :], y[:, None]


def _eyes(
    picture: np.ndarray, person: Person, at: tuple[float, float], scale: float, closed: float
) -> None:
    skin = np.array(SKIN[person.skin], np.float32)
    for side in (-11.0, 11.0):
        patch, x, y = _patch(picture, at, (side, -1.0), (8.0, 7.0), scale)
        height = max(4.4 * (1.0 - closed), 0.5)
        white = _cover(_ellipse(x, y, 6.0, height) * scale)
        tone = skin * 0.5 if closed > 0.9 else np.array((252, 252, 252), np.float32)
        patch += white * (tone - patch)
        if closed > 0.9:
            continue
        iris = np.maximum(_ellipse(x, y, 3.4, 3.4), _ellipse(x, y, 6.0, height))
        patch += _cover(iris * scale) * (np.array(EYE[person.eyes], np.float32) - patch)
        pupil = np.maximum(_ellipse(x, y, 1.5, 1.5), _ellipse(x, y, 6.0, height))
        patch += _cover(pupil * scale) * (16.0 - patch)


def _mouth(picture: np.ndarray, at: tuple[float, float], scale: float, opening: float) -> None:
    patch, x, y = _patch(picture, at, (0.0, 18.5), (14.0, 12.0), scale)
    opening = float(np.clip(opening, 0.0, 1.0))
    wide, tall = 11.5 - 3.0 * opening, 2.0 + 7.5 * opening
    patch += _cover(_ellipse(x, y, wide, tall) * scale) * (np.array(LIP, np.float32) - patch)
    if opening < 0.04:
        return
    hole = _ellipse(x, y, wide - 1.8, max(tall - 1.9, 0.4))
    patch += _cover(hole * scale) * (np.array(INNER, np.float32) - patch)
    teeth = np.maximum(hole, y + tall * 0.45)
    patch += _cover(teeth * scale) * (np.array(TEETH, np.float32) - patch)
