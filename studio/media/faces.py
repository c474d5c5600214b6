"""Face boxes, moved along with the portrait that they were drawn on."""

from __future__ import annotations

from studio.core.errors import RequestError
from studio.core.request import FaceBox, Fit


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
