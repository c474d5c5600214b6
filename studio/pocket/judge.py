"""Tell from the pixels of a scene clip what it shows, without knowing its caption.

The backdrop has few variants, so it is found by drawing them all under every camera and keeping
the one that explains the clip best. What differs from it is the object; its colour, outline and
path, with the camera's own movement taken off, give the rest.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from studio.pocket import world
from studio.pocket.vocabulary import CAMERAS, COLOURS, LIGHTS, PLACES, SHAPES, SIZE_PX

JUDGED = ("colour", "shape", "motion", "place", "light", "camera")
_PICKED = 5  # frames used to find the backdrop
_STEP = 4  # every fourth pixel of them
_FAR = (26.0, 60.0)  # colour distance that counts as an object: in clean and in rough clips
_MOST = 60.0  # the largest distance that a backdrop is blamed for
_TURN = 6  # degrees between templates
_GRID = 24
_LEAST_AREA = 40
_SYMMETRY = {"ball": 1.0, "square": 90.0, "triangle": 120.0, "star": 72.0, "heart": 360.0}
# What a whole clip of each motion amounts to: pixels, pixels, log of size, pixels, degrees.
_FULL = {"x": 48.0, "y": 48.0, "size": 0.79, "hop": 12.0, "turn": 8.0}
_CLEAR = 0.4


@dataclass(frozen=True)
class Verdict:
    """What a clip shows; `fit` is the backdrop's mean colour error."""

    colour: str
    shape: str
    motion: str
    place: str
    light: str
    camera: str
    fit: float


@dataclass(frozen=True)
class _Blob:
    """The object in one frame: centre and size on the screen, area and cut-out [G,G]."""

    x: float
    y: float
    area: float
    cut: np.ndarray


def judge(frames: np.ndarray) -> Verdict:
    """The verdict on uint8 frames [T,128,128,3]."""
    place, light, camera, backdrop, fit = _find_backdrop(frames)
    masks, blobs = _find_object(frames, backdrop, fit)
    colour = _colour(frames, masks, light)
    shape, angles = _shape(blobs)
    motion = _motion(blobs, shape, angles, camera)
    return Verdict(colour, shape, motion, place, light, camera, fit)


def object_path(frames: np.ndarray) -> np.ndarray:
    """Centre of the object on the screen in every frame [T,2], NaN where none is seen."""
    *_, backdrop, fit = _find_backdrop(frames)
    blobs = _find_object(frames, backdrop, fit)[1]
    return np.array([(np.nan, np.nan) if b is None else (b.x, b.y) for b in blobs])


def _find_object(
    frames: np.ndarray, backdrop: np.ndarray, fit: float
) -> tuple[list[np.ndarray], list[_Blob | None]]:
    """What stands before the backdrop, as a mask [H,W] and a blob for every frame."""
    away = np.sqrt(((frames.astype(np.float32) - backdrop) ** 2).sum(-1))
    far = float(np.clip(6.0 * fit, *_FAR))
    masks = [_largest(_opened(a > far)) for a in away]
    blobs = [_measure(mask) for mask in masks]
    if sum(b is not None for b in blobs) < len(blobs) // 3:
        masks = [_largest(a > far / 2) for a in away]
        blobs = [_measure(mask) for mask in masks]
    return masks, blobs


def _paths(length: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pan [T] and zoom [T] of every camera over a clip."""
    time = np.arange(length, dtype=np.float64)
    part = time / max(length - 1, 1)
    still, one = np.zeros(length), np.ones(length)
    return {
        "static": (still, one),
        "pans left": (-time, one),
        "pans right": (time, one),
        "zooms in": (still, world_zoom() ** part),
        "zooms out": (still, world_zoom() ** (1 - part)),
    }


def world_zoom() -> float:
    """How much a zoom magnifies over one clip."""
    from studio.pocket.tracks import ZOOM

    return ZOOM


@cache
def _backdrops(place: str, light: str) -> np.ndarray:
    """All different backdrops of a place and light, float32 [V,128,256,3]."""
    found: dict[bytes, np.ndarray] = {}
    for seed in range(120):
        picture = world.draw_backdrop(place, light, np.random.default_rng(seed))
        found.setdefault(picture[::8, ::8].tobytes(), picture)
    return np.stack(list(found.values()))


def _find_backdrop(frames: np.ndarray) -> tuple[str, str, str, np.ndarray, float]:
    """Place, light, camera, the fitting backdrop as seen [T,128,128,3], and its error."""
    picked = np.unique(np.linspace(0, len(frames) - 1, _PICKED).round().astype(int))
    seen = frames[picked][:, 2::_STEP, 2::_STEP].astype(np.float32)
    best: tuple[float, tuple[str, str, str, int, float]] = (np.inf, ("", "", "", 0, 0.0))
    paths = _paths(len(frames))
    for place, light in _likely(frames):
        pictures = _backdrops(place, light)
        for camera in CAMERAS:
            pan, zoom = (a[picked] for a in paths[camera])
            for shift in (0.0, 24.0, -24.0, 12.0, -12.0):
                made = _sampled(pictures, pan + shift, zoom)
                error = np.sqrt(((made - seen) ** 2).sum(-1))
                means = np.minimum(error, _MOST).mean((1, 2, 3))
                index = int(means.argmin())
                # an unmoved picture is the likelier one where the error is the same
                total = float(means[index]) + (0.05 if shift else 0.0)
                if total < best[0]:
                    best = (total, (place, light, camera, index, shift))
    place, light, camera, index, shift = best[1]
    pan, zoom = paths[camera]
    whole = _sampled(_backdrops(place, light)[index : index + 1], pan + shift, zoom, 1)[0]
    return place, light, camera, whole, best[0]


def _likely(frames: np.ndarray) -> list[tuple[str, str]]:
    """The pairs of place and light whose sky and ground colours come nearest, best first."""
    top = np.median(frames[:, 3:12].reshape(-1, 3), 0)
    bottom = np.median(frames[:, 112:126].reshape(-1, 3), 0)
    scored = []
    for place, light in itertools.product(PLACES, LIGHTS):
        sky = np.array(world.SKY[light][0], float)
        tint = np.array(world.TINT[light])
        near, far = (np.array(c) * tint for c in world.GROUND[place])
        along = np.clip(np.dot(bottom - near, far - near) / np.dot(far - near, far - near), 0, 1)
        error = np.linalg.norm(top - sky) + np.linalg.norm(near + along * (far - near) - bottom)
        scored.append((float(error), place, light))
    return [(place, light) for _, place, light in sorted(scored)[:2]]


def _sampled(
    pictures: np.ndarray, pan: np.ndarray, zoom: np.ndarray, step: int = _STEP
) -> np.ndarray:
    """Backdrops [V,128,256,3] as seen on every `step`-th pixel: [V,T,128/step,128/step,3]."""
    grid = np.arange(step // 2, SIZE_PX, step) + 0.5
    views = []
    for left, scale in zip(pan, zoom, strict=True):
        offsets = (grid - SIZE_PX / 2) / scale + SIZE_PX / 2 - 0.5
        rows = np.clip(offsets.round().astype(int), 0, SIZE_PX - 1)
        columns = (offsets + left + world.MARGIN).round().astype(int)
        columns = np.clip(columns, 0, pictures.shape[2] - 1)
        views.append(pictures[:, rows][:, :, columns])
    return np.stack(views, 1)


def _opened(mask: np.ndarray) -> np.ndarray:
    """The mask [H,W] without parts thinner than three pixels."""
    return _spread(~_spread(~mask))


def _spread(mask: np.ndarray) -> np.ndarray:
    """The mask [H,W] grown by one pixel to all eight sides."""
    tall = np.pad(mask, ((1, 1), (0, 0)), mode="edge")
    tall = tall[:-2] | tall[1:-1] | tall[2:]
    wide = np.pad(tall, ((0, 0), (1, 1)), mode="edge")
    return wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask [H,W]."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def _measure(mask: np.ndarray) -> _Blob | None:
    area = float(mask.sum())
    if area < _LEAST_AREA:
        return None
    rows, columns = np.nonzero(mask)
    y, x = float(rows.mean()) + 0.5, float(columns.mean()) + 0.5
    return _Blob(x, y, area, _cut_out(mask.astype(np.float32), x, y, np.sqrt(area)))


def _cut_out(mask: np.ndarray, x: float, y: float, side: float) -> np.ndarray:
    """The mask about (x, y), scaled so that the object's area is always the same: [G,G]."""
    offsets = (np.arange(_GRID) + 0.5) / _GRID * 2.4 - 1.2
    columns = np.floor(x + offsets * side * 0.9).astype(int)
    rows = np.floor(y + offsets * side * 0.9).astype(int)
    inside = (rows >= 0)[:, None] & (rows < len(mask))[:, None]
    inside = inside & (columns >= 0)[None] & (columns < len(mask))[None]
    picked = mask[np.clip(rows, 0, len(mask) - 1)][:, np.clip(columns, 0, len(mask) - 1)]
    return picked * inside


@cache
def _templates(shape: str) -> np.ndarray:
    """Cut-outs of a shape at all angles up to its symmetry, float32 [A,G,G]."""
    grid = np.arange(SIZE_PX) + 0.5 - SIZE_PX / 2
    cuts = []
    for angle in np.arange(0, _SYMMETRY[shape], _TURN):
        cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        u = (cosine * grid[None] + sine * grid[:, None]) / 34.0
        v = (cosine * grid[:, None] - sine * grid[None]) / 34.0
        blob = _measure(world.shape_distance(shape, u, v) < 0)
        assert blob is not None
        cuts.append(blob.cut)
    return np.stack(cuts)


def _shape(blobs: list[_Blob | None]) -> tuple[str, dict[str, np.ndarray]]:
    """The likeliest shape, and the best angle in degrees per frame (NaN unseen) per shape."""
    totals, angles = {}, {}
    for shape in SHAPES:
        templates = _templates(shape)
        scores, best = [], np.full(len(blobs), np.nan)
        for index, blob in enumerate(blobs):
            if blob is None:
                continue
            both = np.minimum(templates, blob.cut).sum((1, 2))
            either = np.maximum(templates, blob.cut).sum((1, 2))
            overlap = both / either
            scores.append(float(overlap.max()) * min(blob.area, 600.0))
            best[index] = float(overlap.argmax()) * _TURN
        totals[shape], angles[shape] = sum(scores), best
    return max(totals, key=lambda name: totals[name]), angles


def _colour(frames: np.ndarray, masks: list[np.ndarray], light: str) -> str:
    """The colour whose direction in RGB most of the object's inner pixels share."""
    inner = [f[~_spread(~m)] for f, m in zip(frames, masks, strict=True)]
    pixels = np.concatenate(inner).astype(np.float32)
    if not len(pixels):
        return COLOURS[0]
    mean = np.median(pixels, 0)
    names = np.array([world.RGB[c] for c in COLOURS], np.float32)
    names = np.minimum(names * world.GLOW[light], 255.0)
    closeness = names @ mean / (np.linalg.norm(names, axis=1) * np.linalg.norm(mean) + 1e-6)
    return COLOURS[int(closeness.argmax())]


def _motion(
    blobs: list[_Blob | None], shape: str, angles: dict[str, np.ndarray], camera: str
) -> str:
    """The motion whose whole extent the object's path comes nearest to, in the world."""
    seen = np.array([i for i, b in enumerate(blobs) if b is not None])
    if len(seen) < 5:
        return "stays still"
    pan, zoom = (a[seen] for a in _paths(len(blobs))[camera])
    kept = [b for b in blobs if b is not None]
    x = (np.array([b.x for b in kept]) - SIZE_PX / 2) / zoom + pan
    y = (np.array([b.y for b in kept]) - SIZE_PX / 2) / zoom
    size = 0.5 * np.log([b.area for b in kept]) - np.log(zoom)
    whole = 24.0
    lines = {name: np.polyfit(seen, values, 1) for name, values in (("x", x), ("y", y))}
    dx, dy = lines["x"][0] * whole, lines["y"][0] * whole
    dsize = np.polyfit(seen, size, 1)[0] * whole
    hop = float(np.std(y - np.polyval(lines["y"], seen)))
    turn = _turning(seen, angles[shape][seen], _SYMMETRY[shape])
    amounts = {
        "moves left": -dx / _FULL["x"],
        "moves right": dx / _FULL["x"],
        "rises": -dy / _FULL["y"],
        "falls": dy / _FULL["y"],
        "grows": dsize / _FULL["size"],
        "shrinks": -dsize / _FULL["size"],
        "bounces": hop / _FULL["hop"],
        "spins": turn / _FULL["turn"],
    }
    name = max(amounts, key=lambda one: amounts[one])
    return name if amounts[name] > _CLEAR else "stays still"


def _turning(seen: np.ndarray, angles: np.ndarray, symmetry: float) -> float:
    """Steady turning in degrees a frame, where angles repeat after `symmetry`; 0 if unsteady."""
    if symmetry <= 1.0 or len(seen) < 5:
        return 0.0
    rates = np.arange(-14.0, 14.1, 1.0)
    phases = 2 * np.pi * (angles[None] - rates[:, None] * seen[None]) / symmetry
    steadiness = np.abs(np.exp(1j * phases).mean(1))
    best = int(steadiness.argmax())
    return float(abs(rates[best])) if steadiness[best] > 0.7 else 0.0
