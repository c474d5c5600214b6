"""Whose face is where in a portrait: given, found, or the whole picture; moved along with a fit.

In order: the boxes that the user gave; what `face_finders` finds; the whole picture, said aloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.core.errors import RequestError
from studio.core.request import FaceBox, Fit

if TYPE_CHECKING:
    from studio.media.face_finders import FaceFinder, Picture


@dataclass(frozen=True)
class Faces:
    """The speakers' faces, from left to right; none means that the whole picture is meant."""

    boxes: tuple[FaceBox, ...]
    how: str
    """given, the finder's name, or whole."""
    notices: tuple[str, ...] = ()


def choose_faces(
    picture: Picture, given: Sequence[FaceBox], tracks: int, finder: FaceFinder | None
) -> Faces:
    """The faces of `tracks` speakers in `picture` uint8 [H,W,3].

    Given boxes count as they are. Of more faces than tracks the largest are taken. A single
    speaker without a face has the whole picture.

    Raises:
        RequestError: if boxes and tracks do not go together, or several speakers have too few
            faces.
    """
    if given:
        if len(given) != tracks:
            raise RequestError(
                f"each sound needs the face that speaks it (got {tracks} sounds and {len(given)} "
                "faces); give one face for each sound"
            )
        return Faces(tuple(given), "given")
    found = finder.find(picture) if finder is not None else []
    how = "whole" if finder is None else finder.name
    if len(found) >= tracks:
        boxes = tuple(sorted(found[:tracks], key=lambda box: box.x))
        return Faces(boxes, how, _choice(len(found), tracks, how))
    if tracks > 1:
        raise RequestError(
            f"{tracks} sounds need {tracks} faces (found {len(found)}); draw a box around each "
            "face, in the order of the sounds"
        )
    why = "no face finder is installed" if finder is None else f"{how} found no face"
    return Faces((), "whole", (f"{why}: the sound may move the whole picture; draw a face's box",))


def _choice(found: int, tracks: int, how: str) -> tuple[str, ...]:
    if found == tracks:
        return ()
    which = "the largest face speaks" if tracks == 1 else f"the {tracks} largest speak, left first"
    return (f"{how} found {found} faces: {which}; draw boxes to choose others",)


def fit_box(box: FaceBox, size: tuple[int, int], target: tuple[int, int], fit: Fit) -> FaceBox:
    """`box` of a portrait of `size` where `fit_image` puts it in a picture of `target`.

    Sizes are (width, height). What is cut off the picture is cut off the box.

    Raises:
        RequestError: if the box does not lie in the portrait or nothing of it is left.
    """
    left, right = _fit(box.x, box.width, 0, (size, target), fit)
    top, bottom = _fit(box.y, box.height, 1, (size, target), fit)
    inside = box.x + box.width <= size[0] and box.y + box.height <= size[1]
    if not inside or right <= left or bottom <= top:
        raise RequestError(
            f"a face lies inside the portrait's {size[0]}x{size[1]} pixels and, when it is fitted "
            f"by {fit} to {target[0]}x{target[1]}, still inside (got {box.x},{box.y},{box.width},"
            f"{box.height}); move the face, or choose the fit pad"
        )
    return FaceBox(x=left, y=top, width=right - left, height=bottom - top)


def _fit(
    start: int, length: int, axis: int, sizes: tuple[tuple[int, int], tuple[int, int]], fit: Fit
) -> tuple[int, int]:
    """[start, stop) along one axis of the fitted picture."""
    size, target = sizes
    ratios = (target[0] / size[0], target[1] / size[1])
    scale = {"crop": max(ratios), "pad": min(ratios), "stretch": ratios[axis]}[fit]
    margin = (target[axis] - size[axis] * scale) / 2
    edges = (margin + start * scale, margin + (start + length) * scale)
    low, high = (min(max(round(edge), 0), target[axis]) for edge in edges)
    return low, high
