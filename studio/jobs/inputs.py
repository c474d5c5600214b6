"""What a request reads from files: pictures, sounds, and the clip that it continues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from studio.core.errors import MediaError, RequestError
from studio.core.plan import Plan
from studio.core.request import FaceBox, Fit, Request

if TYPE_CHECKING:
    import torch

    from studio.models.family import Family, Frames
    from studio.models.manager import ModelManager

Say = Callable[[str], None]
LENGTH_SLACK_S = 0.1


@dataclass(frozen=True)
class Continued:
    """The clip that goes on: where it is, and its end as the model sees it."""

    path: Path
    frames: int
    tail: Frames
    """Its last frames [n, H, W, 3], fitted to the plan."""
    latents: torch.Tensor
    """Those frames encoded [1, C, t, h, w]; the last ones are the first window's prefix. None of
    them (t = 0) for families that go on from frames."""


@dataclass(frozen=True)
class Inputs:
    """What the request reads from files, ready for the model."""

    image: Frames | None = None
    last_image: Frames | None = None
    audio: tuple[Path, ...] = ()
    continued: Continued | None = None
    faces: tuple[FaceBox, ...] = ()
    """Where the speakers' faces are in `image`."""

    @property
    def pictures(self) -> tuple[Frames, ...]:
        """The pictures that are there, first one first."""
        return tuple(p for p in (self.image, self.last_image) if p is not None)

    def given(self, count: int) -> torch.Tensor | None:
        """The last `count` latents of the clip that is continued; None without."""
        return None if self.continued is None else self.continued.latents[:, :, -count:]


def read_inputs(request: Request, plan: Plan, say: Say) -> Inputs:
    """The request's pictures and sounds, fitted to the plan; `say` hears what was decided.

    Raises:
        MediaError: if one cannot be read.
        RequestError: if a face does not lie in the portrait.
    """
    audio = tuple(Path(name) for name in getattr(request, "audio", ()))
    from studio.media.faces import fit_box
    from studio.media.images import fit_image

    fit: Fit = getattr(request, "fit", "crop")
    first, last = (_picture(request, name, say) for name in ("image", "last_image"))
    faces: list[FaceBox] = []
    if first is not None and audio:
        size, target = (first.shape[1], first.shape[0]), (plan.width, plan.height)
        faces = [fit_box(box, size, target, fit) for box in _faces(request, first, say)]
    _say_sounds(audio, say)
    fitted = [
        None if picture is None else fit_image(picture, plan.width, plan.height, fit)
        for picture in (first, last)
    ]
    return Inputs(image=fitted[0], last_image=fitted[1], audio=audio, faces=tuple(faces))


def _say_sounds(paths: tuple[Path, ...], say: Say) -> None:
    """Say what is odd about the sounds, and that they differ in length."""
    from studio.media.audio import load_sound

    sounds = [load_sound(path) for path in paths]
    for notice in dict.fromkeys(notice for sound in sounds for notice in sound.notices):
        say(notice)
    lengths = [sound.seconds for sound in sounds]
    if lengths and max(lengths) - min(lengths) > LENGTH_SLACK_S:
        listed = " and ".join(f"{length:.2f} s" for length in lengths)
        say(f"the sounds last {listed}: the clip is as long as the longest; others end in silence")


def _faces(request: Request, portrait: Frames, say: Say) -> tuple[FaceBox, ...]:
    from studio.media.face_finders import local_finder
    from studio.media.faces import choose_faces

    given: tuple[FaceBox, ...] = getattr(request, "faces", ())
    tracks = len(getattr(request, "audio", ()))
    chosen = choose_faces(portrait, given, tracks, None if given else local_finder())
    for notice in chosen.notices:
        say(notice)
    return chosen.boxes


def _picture(request: Request, name: str, say: Say) -> Frames | None:
    from studio.media.images import open_image

    path = getattr(request, name, None)
    if path is None:
        return None
    picture = open_image(path)
    for notice in picture.notices:
        say(notice)
    pixels: Frames = picture.pixels
    return pixels


def audio_seconds(request: Request) -> float | None:
    """Length of the longest track; None without sound."""
    names = getattr(request, "audio", ())
    if not names:
        return None
    from studio.media.audio import load_sound, probe_sound

    # Only files that do not say how long they are must be decoded to know it.
    return max(probe_sound(name).seconds or load_sound(name).seconds for name in names)


def find_clip(name: str, outputs_dir: Path) -> Path:
    """The video that `name` means: a path, or the id of a clip in the library.

    Raises:
        MediaError: if there is neither.
    """
    from studio.library.clip import ID
    from studio.library.library import Library

    path = Path(name)
    if path.is_file():
        return path
    if ID.fullmatch(name):
        return Library(outputs_dir).get(name).path
    raise MediaError(f"there is no clip {name!r}; give a file, or a clip's id from the gallery")


def continue_clip(
    path: Path, plan: Plan, family: Family, models: ModelManager, say: Say
) -> Continued:
    """The end of the clip at `path`, encoded with frames in front that warm the encoder.

    Raises:
        MediaError: if it cannot be read.
        RequestError: if it is too short to be continued.
    """
    import torch

    from studio.media.decode import probe, read_frames
    from studio.media.images import fit_image
    from studio.models.family import FrameMaker
    from studio.stitching.overlap_prefix import tail_frames

    rule = family.preset.rule
    count = plan.given_frames
    total = sum(1 for _ in read_frames(path))
    least = rule.pixel_frames(count)
    if total < least:
        raise RequestError(
            f"a clip that is continued with an overlap of {count} has at least {least} frames "
            f"(got {total}); choose a longer clip or a smaller overlap"
        )
    wanted = min(total, tail_frames("reencode-warm", count, rule))
    wanted = rule.pixel_frames(1 + (wanted - rule.first) // rule.stride)
    frames = list(read_frames(path, total - wanted, wanted))
    info = probe(path)
    if (info.width, info.height) != (plan.width, plan.height):
        say(
            f"the clip is {info.width}x{info.height}: it is cropped and scaled to "
            f"{plan.width}x{plan.height} to be continued"
        )
        frames = [fit_image(frame, plan.width, plan.height) for frame in frames]
    tail = np.stack(frames)
    if isinstance(family, FrameMaker):
        return Continued(path, total, tail, torch.zeros(1, 1, 0, 1, 1))
    return Continued(path, total, tail, family.encode_frames(models, tail))
