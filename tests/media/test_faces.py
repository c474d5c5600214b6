"""A face's box follows the portrait through every fit."""

from __future__ import annotations

import numpy as np
import pytest

from studio.core.errors import RequestError
from studio.core.request import FaceBox, Fit
from studio.media.faces import fit_box
from studio.media.images import fit_image

SIZES = [((200, 100), (64, 64)), ((90, 160), (128, 64)), ((64, 64), (64, 64)), ((50, 70), (96, 64))]


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize(("size", "target"), SIZES)
def test_the_box_is_where_the_face_is_seen(
    size: tuple[int, int], target: tuple[int, int], fit: Fit
) -> None:
    width, height = size
    box = FaceBox(x=width // 2 - 12, y=height // 2 - 10, width=20, height=16)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[box.y : box.y + box.height, box.x : box.x + box.width] = 255
    seen = fit_image(pixels, *target, fit)[..., 0] > 127
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    found = fit_box(box, size, target, fit)
    expected = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    edges = (found.x, found.y, found.x + found.width, found.y + found.height)
    assert np.abs(np.subtract(edges, expected)).max() <= 1


def test_a_face_that_is_cut_off_is_refused() -> None:
    box = FaceBox(x=0, y=40, width=20, height=20)
    with pytest.raises(RequestError, match="move the face"):
        fit_box(box, (200, 100), (64, 64), "crop")
    assert fit_box(box, (200, 100), (64, 64), "pad").width == 6
    with pytest.raises(RequestError, match="inside the portrait"):
        fit_box(FaceBox(x=190, y=0, width=20, height=9), (200, 100), (64, 64), "stretch")
