"""Where the object and the camera of a scene are in each frame.

Positions are pixels of a 128 x 128 picture, x to the right and y down. Every motion is
drawn so that a clip played backwards, or seen in a mirror, is again a clip of this world
with the attributes that `mirrored` and `reversed_in_time` name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from studio.pocket.vocabulary import CAMERAS, CLIP_FRAMES, MOTIONS, SIZE_PX, Scene

SPEED = 2.0
GRID = 8
PAN = 1.0
ZOOM = 1.35
GROWTH = 2.2
SPIN = np.deg2rad(8.0)
HOP_FRAMES = 12
RADII = {"small": 14.5, "large": 20.0}

_MIRROR = {
    "moves left": "moves right",
    "moves right": "moves left",
    "pans left": "pans right",
    "pans right": "pans left",
}
_REVERSE = {
    **_MIRROR,
    "rises": "falls",
    "falls": "rises",
    "grows": "shrinks",
    "shrinks": "grows",
    "zooms in": "zooms out",
    "zooms out": "zooms in",
}


def mirrored(name: str) -> str:
    """The motion or camera `name` as a mirror shows it."""
    return _MIRROR.get(name, name)


def reversed_in_time(name: str) -> str:
    """The motion or camera `name` played backwards."""
    return _REVERSE.get(name, name)


@dataclass(frozen=True)
class Track:
    """The truth about a clip of T frames, on the screen.

    centre [T,2] and radius [T] of the object and angle [T] in radians; pan [T] is how far
    the camera stands to the right and zoom [T] its magnification; motions [T] and
    cameras [T] index MOTIONS and CAMERAS, since a long clip may change its motion.
    """

    centre: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    pan: np.ndarray
    zoom: np.ndarray
    motions: np.ndarray
    cameras: np.ndarray


@dataclass
class _State:
    x: float
    y: float
    radius: float
    angle: float = 0.0
    spin: float = SPIN
    hop_start: int = 0
    hop_floor: float = 0.0


def scene_track(
    scene: Scene,
    rng: np.random.Generator,
    frames: int = CLIP_FRAMES,
    then: str | None = None,
    composed: bool = False,
) -> Track:
    """Draw a path for `scene`; with `then`, that motion takes over in mid-clip.

    A composed path has its middle in the picture's middle, as someone who frames the shot
    would have it; other paths lie where they fall.
    """
    pan, zoom, cameras = _camera(scene.camera, frames)
    state = _State(0.0, 0.0, RADII[scene.size], spin=SPIN * rng.choice((-1.0, 1.0)))
    _place(state, scene, pan, None if composed else rng)
    change = int(rng.choice(np.arange(1 + frames // 3, 2 * frames // 3, 4))) if then else frames
    centre = np.zeros((frames, 2))
    radii, angles = np.zeros(frames), np.zeros(frames)
    motions = np.zeros(frames, dtype=np.int64)
    motion = scene.motion
    _begin(state, 0)
    for frame in range(frames):
        if then is not None and frame == change:
            motion = then
            _begin(state, frame)
        motion = _turn(state, motion, pan[frame])
        centre[frame] = (state.x, _height(state, motion, frame))
        radii[frame], angles[frame] = state.radius, state.angle
        motions[frame] = MOTIONS.index(_shown(state, motion, scene.size))
        _advance(state, motion, scene.size)
    half = SIZE_PX / 2
    screen = np.stack([(centre[:, 0] - half - pan) * zoom, (centre[:, 1] - half) * zoom], 1) + half
    return Track(screen, radii * zoom, angles, pan, zoom, motions, cameras)


def follow_on(scene: Scene, motion: str) -> Scene:
    """`scene` with another motion: what a later shot of the same object is called."""
    return replace(scene, motion=motion)


def _camera(camera: str, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pan [T], zoom [T] and the camera's name index [T]; a zoom ends after one clip."""
    time = np.arange(frames, dtype=np.float64)
    pan, zoom = np.zeros(frames), np.ones(frames)
    names = np.full(frames, CAMERAS.index(camera))
    last = CLIP_FRAMES - 1
    if camera.startswith("pans"):
        there = _triangle(time, 2.0 * last)
        pan = there * PAN * (1.0 if camera == "pans right" else -1.0)
    elif camera.startswith("zooms"):
        part = np.minimum(time / last, 1.0)
        part = part if camera == "zooms in" else 1.0 - part
        zoom = ZOOM**part
        names[time > last] = CAMERAS.index("static")
    return pan, zoom, names


def _triangle(time: np.ndarray, reach: float) -> np.ndarray:
    """Go from 0 to `reach` at one a step and back again, for ever."""
    return reach - np.abs(np.mod(time, 2.0 * reach) - reach)


def _place(state: _State, scene: Scene, pan: np.ndarray, rng: np.random.Generator | None) -> None:
    """Start so that the middle of a clip's path on the screen is near the picture's middle.

    Places lie on a grid and speeds are fixed: a world with few different pictures is learned
    in an hour. Without `rng` it is the picture's middle exactly.
    """
    span = min(len(pan), CLIP_FRAMES) - 1
    drift = {"moves left": -SPEED, "moves right": SPEED}.get(scene.motion, 0.0) * span - pan[span]
    lift = {"rises": -SPEED, "falls": SPEED}.get(scene.motion, 0.0) * span
    reach = int(np.clip(SIZE_PX / 2 - 26.0 - abs(drift) / 2, 0.0, 16.0)) // GRID
    if scene.camera.startswith("zooms"):
        reach = min(reach, 0 if drift else 1)
    aside = 0 if rng is None else int(rng.integers(-reach, reach + 1))
    state.x = SIZE_PX / 2 + GRID * float(aside) - drift / 2
    if lift:
        state.y = SIZE_PX / 2 - lift / 2
    elif scene.motion == "bounces":
        state.y = 88.0
    else:
        state.y = SIZE_PX / 2 if rng is None else float(rng.choice((56.0, 64.0)))
    if scene.motion == "grows":
        state.radius /= np.sqrt(GROWTH)
    elif scene.motion == "shrinks":
        state.radius *= np.sqrt(GROWTH)


def _begin(state: _State, frame: int) -> None:
    state.hop_start, state.hop_floor = frame, state.y


def _turn(state: _State, motion: str, pan: float) -> str:
    """The motion itself, or its opposite where the object has come to the edge."""
    margin = 24.0
    x = state.x - pan
    if motion == "moves right" and x > SIZE_PX - margin:
        return "moves left"
    if motion == "moves left" and x < margin:
        return "moves right"
    if motion == "falls" and state.y > SIZE_PX - margin - 2:
        return "rises"
    if motion == "rises" and state.y < margin:
        return "falls"
    return motion


def _height(state: _State, motion: str, frame: int) -> float:
    """The object's y: hopping lifts it by up to 40 pixels, less where there is no room."""
    if motion != "bounces":
        return state.y
    reach = min(40.0, max(state.hop_floor - 26.0, 0.0))
    phase = np.pi * (frame - state.hop_start) / HOP_FRAMES
    state.y = state.hop_floor - reach * abs(np.sin(phase))
    return state.y


def _limits(size: str) -> tuple[float, float]:
    return RADII[size] / np.sqrt(GROWTH) * 0.99, RADII[size] * np.sqrt(GROWTH) * 1.01


def _shown(state: _State, motion: str, size: str) -> str:
    """What the eye sees: growth that has come to its end is standing still."""
    low, high = _limits(size)
    done = (motion == "grows" and state.radius >= high) or (
        motion == "shrinks" and state.radius <= low
    )
    return "stays still" if done else motion


def _advance(state: _State, motion: str, size: str) -> None:
    low, high = _limits(size)
    rate = GROWTH ** (1.0 / (CLIP_FRAMES - 1))
    if motion == "moves right":
        state.x += SPEED
    elif motion == "moves left":
        state.x -= SPEED
    elif motion == "rises":
        state.y -= SPEED
    elif motion == "falls":
        state.y += SPEED
    elif motion == "spins":
        state.angle += state.spin
    elif motion == "grows":
        state.radius = min(state.radius * rate, high)
    elif motion == "shrinks":
        state.radius = max(state.radius / rate, low)
