"""Draw the scenes of the pocket world: one object in one place, 128 x 128, anti-aliased.

The backdrop is drawn once, wider than the picture, and cut out or resampled as the camera
moves. Shapes are signed distances, evaluated in the object's bounding box for all frames
at once. Nothing here prefers left or right, so a mirrored clip is a clip of this world.
"""

from __future__ import annotations

import numpy as np

from studio.pocket.tracks import Track, scene_track
from studio.pocket.vocabulary import CLIP_FRAMES, SIZE_PX, Scene

MARGIN = 64
WIDE = SIZE_PX + 2 * MARGIN
HORIZON = 84

RGB = {
    "red": (226, 42, 40),
    "green": (40, 186, 64),
    "blue": (44, 84, 236),
    "yellow": (250, 222, 40),
    "purple": (148, 56, 214),
    "orange": (255, 134, 20),
    "white": (248, 248, 248),
    "pink": (255, 138, 190),
}
SKY = {
    "day": ((112, 176, 244), (222, 240, 254)),
    "sunset": ((92, 60, 142), (252, 160, 92)),
    "night": ((10, 10, 36), (44, 44, 100)),
}
DISC = {"day": (255, 240, 166), "sunset": (255, 190, 108), "night": (228, 228, 210)}
TINT = {"day": (1.0, 1.0, 1.0), "sunset": (0.92, 0.74, 0.66), "night": (0.30, 0.34, 0.48)}
GROUND = {
    "meadow": ((96, 180, 84), (56, 120, 48)),
    "sea": ((44, 122, 182), (28, 78, 128)),
    "desert": ((222, 186, 112), (170, 136, 82)),
    "city": ((112, 116, 122), (74, 76, 82)),
}
GLOW = {"day": 1.0, "sunset": 0.95, "night": 0.86}


def draw_scene(scene: Scene, rng: np.random.Generator, frames: int = CLIP_FRAMES) -> np.ndarray:
    """A clip of `scene` as uint8 [T,128,128,3]."""
    return draw_track(scene, scene_track(scene, rng, frames), rng)


def draw_track(scene: Scene, track: Track, rng: np.random.Generator) -> np.ndarray:
    """Draw `scene` along a given path; uint8 [T,128,128,3]."""
    backdrop = draw_backdrop(scene.place, scene.light, rng)
    video = _look(backdrop, track)
    _draw_object(video, scene, track)
    return np.clip(video + 0.5, 0, 255).astype(np.uint8)


def draw_backdrop(place: str, light: str, rng: np.random.Generator) -> np.ndarray:
    """The place without its object, float32 [128,256,3]; column 64 is the picture's left."""
    x = np.arange(WIDE, dtype=np.float32) + 0.5
    y = np.arange(SIZE_PX, dtype=np.float32)[:, None] + 0.5
    top, bottom = (np.array(c, np.float32) for c in SKY[light])
    part = np.clip(y / HORIZON, 0, 1)[..., None]
    picture = np.broadcast_to(top * (1 - part) + bottom * part, (SIZE_PX, WIDE, 3)).copy()
    disc_x = MARGIN + float(rng.choice((24.0, 104.0)))
    distance = np.hypot(x[None] - disc_x, y - 24.0) - 11.0
    _blend(picture, _cover(distance), np.array(DISC[light], np.float32))
    tint = np.array(TINT[light], np.float32)
    if place == "city":
        _draw_skyline(picture, x, y, tint, rng)
    edge = np.full(WIDE, float(HORIZON), np.float32)
    if place in ("meadow", "desert"):
        height, length = (3.5, 64.0) if place == "meadow" else (7.0, 128.0)
        edge += height * np.cos(2 * np.pi * (x / length + rng.integers(4) / 4.0))
    near, far = (np.array(c, np.float32) * tint for c in GROUND[place])
    depth = np.clip((y - edge) / (SIZE_PX - HORIZON), 0, 1)[..., None]
    ground = near * (1 - depth) + far * depth
    if place == "sea":
        slope = 0.35 * float(rng.choice((-1.0, 1.0)))
        wave = np.mod(y + slope * (x[None] - WIDE / 2), 16.0) - 8.0
        ground = ground + (1 - _cover(2.0 - np.abs(wave)))[..., None] * 22.0 * tint
    _blend(picture, _cover(edge - y), ground)
    return picture


def _draw_skyline(
    picture: np.ndarray, x: np.ndarray, y: np.ndarray, tint: np.ndarray, rng: np.random.Generator
) -> None:
    """Houses of one fixed street, seen from one of four spots, perhaps in a mirror."""
    heights = np.array([34, 24, 14, 28, 18, 40, 22, 30], np.float32)
    heights = np.roll(heights, 2 * int(rng.integers(4)))
    if rng.integers(2):
        heights = heights[::-1]
    house = np.mod(np.floor(x / 16.0).astype(int), len(heights))
    inside = np.abs(np.mod(x, 16.0) - 8.0) - 7.0
    distance = np.maximum(inside[None], (HORIZON - heights[house])[None] - y)
    _blend(picture, _cover(distance), np.array((74, 72, 92), np.float32) * (0.25 + 0.75 * tint))


def _cover(distance: np.ndarray) -> np.ndarray:
    """Part of a pixel that lies inside a shape: smoothstep over about one pixel."""
    part = np.clip(0.5 - distance / 1.4, 0.0, 1.0)
    return part * part * (3.0 - 2.0 * part)


def _blend(picture: np.ndarray, cover: np.ndarray, colour: np.ndarray) -> None:
    picture += cover[..., None] * (colour - picture)


def _look(backdrop: np.ndarray, track: Track) -> np.ndarray:
    """What the camera sees of the backdrop, float32 [T,128,128,3]."""
    frames = len(track.pan)
    video = np.empty((frames, SIZE_PX, SIZE_PX, 3), np.float32)
    for index in range(frames):
        pan, zoom = float(track.pan[index]), float(track.zoom[index])
        if zoom == 1.0 and pan == round(pan):
            left = MARGIN + int(pan)
            video[index] = backdrop[:, left : left + SIZE_PX]
            continue
        half = SIZE_PX / 2
        offsets = (np.arange(SIZE_PX) + 0.5 - half) / zoom + half - 0.5
        rows = _mix(backdrop, offsets, 0)
        video[index] = _mix(rows, offsets + pan + MARGIN, 1)
    return video


def _mix(picture: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """Linear interpolation along one axis."""
    low = np.clip(np.floor(at).astype(int), 0, picture.shape[axis] - 2)
    part = (at - low).astype(np.float32)
    part = part[:, None, None] if axis == 0 else part[None, :, None]
    first, second = np.take(picture, low, axis), np.take(picture, low + 1, axis)
    return first + part * (second - first)


def _draw_object(video: np.ndarray, scene: Scene, track: Track) -> None:
    """Lay the object over every frame of `video` in place."""
    box = int(np.ceil(track.radius.max() * 1.25)) + 3
    corner = np.floor(track.centre).astype(int) - box
    grid = np.arange(2 * box + 1) + 0.5
    px = (grid[None] + corner[:, :1] - track.centre[:, :1])[:, None, :].astype(np.float32)
    py = (grid[None] + corner[:, 1:] - track.centre[:, 1:])[:, :, None].astype(np.float32)
    cosine, sine = (f(track.angle)[:, None, None].astype(np.float32) for f in (np.cos, np.sin))
    radius = track.radius[:, None, None].astype(np.float32)
    u, v = cosine * px + sine * py, cosine * py - sine * px
    distance = shape_distance(scene.shape, u / radius, v / radius) * radius
    cover = _cover(distance)
    shade = 1.04 - 0.16 * np.clip(py / radius, -1.2, 1.2)
    shade = shade * (1.0 - 0.42 * _cover(-distance - 0.09 * radius - 0.6))
    colour = np.array(RGB[scene.colour], np.float32) * GLOW[scene.light]
    for index, (left, top) in enumerate(corner):
        x0, x1 = max(left, 0), min(left + 2 * box + 1, SIZE_PX)
        y0, y1 = max(top, 0), min(top + 2 * box + 1, SIZE_PX)
        if x0 >= x1 or y0 >= y1:
            continue
        part = (index, slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        paint = np.minimum(shade[part][..., None] * colour, 255.0)
        _blend(video[index, y0:y1, x0:x1], cover[part], paint)


def shape_distance(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a shape of radius one about the origin, y down."""
    if shape == "ball":
        return np.hypot(x, y) - 1.0
    if shape == "square":
        ax, ay = np.abs(x) - 0.78, np.abs(y) - 0.78
        return (
            np.hypot(np.maximum(ax, 0), np.maximum(ay, 0))
            + np.minimum(np.maximum(ax, ay), 0)
            - 0.08
        )
    if shape == "triangle":
        slant = (np.abs(x) * 0.866 - (y - 0.1) * 0.5) - 0.5
        return np.maximum(slant, y - 0.66)
    if shape == "star":
        return _star(x, y)
    return _heart(x, y)


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Five points, one upwards, after the folding of I. Quilez; outer radius 1.15."""
    outer, inner = 1.15, 0.48
    k1, k2 = np.array((0.809017, -0.587785)), np.array((-0.809017, -0.587785))
    x, y = np.abs(x), -y
    for k in (k1, k2):
        fold = 2.0 * np.maximum(k[0] * x + k[1] * y, 0.0)
        x, y = x - fold * k[0], y - fold * k[1]
    x, y = np.abs(x), y - outer
    bx, by = inner * 0.587785, inner * 0.809017 - outer
    along = np.clip((x * bx + y * by) / (bx * bx + by * by), 0.0, 1.0)
    return np.hypot(x - bx * along, y - by * along) * np.sign(y * bx - x * by)


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two round lobes above one tip, after I. Quilez."""
    size = 1.75
    x, y = np.abs(x) / size, (0.92 - y) / size
    lobe = np.hypot(x - 0.25, y - 0.75) - 0.353553
    line = 0.5 * np.maximum(x + y, 0.0)
    near = np.minimum(x * x + (y - 1.0) ** 2, (x - line) ** 2 + (y - line) ** 2)
    tip = np.sqrt(near) * np.sign(x - y)
    return np.where(x + y > 1.0, lobe, tip) * size
