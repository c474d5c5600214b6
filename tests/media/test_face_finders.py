"""Faces: given before found, found before the whole picture, and every choice said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studio.core.errors import MediaError, RequestError, WeightsError
from studio.core.request import FaceBox
from studio.media import face_finders
from studio.media.face_finders import (
    InsightFaceFinder,
    YuNetFinder,
    download_pack,
    framed,
    largest_first,
    local_finder,
    pack_place,
)
from studio.media.faces import choose_faces

PICTURE = np.zeros((100, 200, 3), np.uint8)


def box(x: int, size: int) -> FaceBox:
    return FaceBox(x=x, y=10, width=size, height=size)


class Finds:
    """A finder that finds what it is told to."""

    name = "Finds"

    def __init__(self, *boxes: FaceBox) -> None:
        self.boxes = list(boxes)

    def find(self, picture: np.ndarray) -> list[FaceBox]:
        assert picture.shape == PICTURE.shape
        return self.boxes


def test_given_boxes_come_first() -> None:
    chosen = choose_faces(PICTURE, [box(90, 20), box(5, 20)], 2, Finds(box(0, 50)))
    assert [face.x for face in chosen.boxes] == [90, 5]
    assert (chosen.how, chosen.notices) == ("given", ())


def test_found_faces_stand_from_left_to_right() -> None:
    chosen = choose_faces(PICTURE, (), 2, Finds(box(120, 40), box(10, 30)))
    assert [face.x for face in chosen.boxes] == [10, 120]
    assert chosen.how == "Finds"
    assert chosen.notices == ()


def test_of_five_faces_the_largest_speak_and_it_is_said() -> None:
    five = Finds(*(box(20 * k, 30 - k) for k in range(5)))
    chosen = choose_faces(PICTURE, (), 2, five)
    assert [face.x for face in chosen.boxes] == [0, 20]
    assert "found 5 faces" in chosen.notices[0]


@pytest.mark.parametrize("finder", [None, Finds()])
def test_no_face_means_the_whole_picture_for_one_speaker(finder: Finds | None) -> None:
    chosen = choose_faces(PICTURE, (), 1, finder)
    assert chosen.boxes == ()
    assert "whole picture" in chosen.notices[0]
    with pytest.raises(RequestError, match="draw a box"):
        choose_faces(PICTURE, (), 2, finder)


def test_five_boxes_with_two_tracks_are_refused() -> None:
    with pytest.raises(RequestError, match="2 sounds and 5 faces"):
        choose_faces(PICTURE, [box(k, 9) for k in range(5)], 2, None)


def test_boxes_are_cut_at_the_border_and_sorted() -> None:
    raw = [
        np.array([-10.0, 5, 20, 30]),
        np.array([150.0, 50, 260, 140]),
        np.array([300.0, 0, 9, 9]),
    ]
    found = largest_first(raw, PICTURE)
    assert found == [
        FaceBox(x=150, y=50, width=50, height=50),
        FaceBox(x=0, y=5, width=20, height=25),
    ]


def test_a_frame_is_laid_around_the_picture() -> None:
    padded, border = framed(PICTURE)
    assert padded.shape == (150, 300, 3)
    assert border.tolist() == [25, 50]
    with pytest.raises(MediaError, match="pictures"):
        framed(np.zeros((4, 4), np.uint8))


def test_a_licence_comes_before_a_download(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="non-commercial"):
        download_pack(tmp_path / "models", licence_read=False)
    assert list(tmp_path.iterdir()) == []


def test_models_are_found_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_finders, "PACK_HOME", tmp_path / "home")
    assert local_finder(tmp_path) is None
    (tmp_path / "face_detection_yunet_2023mar.onnx").write_bytes(b"no model")
    finder = local_finder(tmp_path)
    assert isinstance(finder, YuNetFinder)
    with pytest.raises(WeightsError, match="no YuNet model"):
        finder.find(PICTURE)
    (tmp_path / "buffalo_s").mkdir()
    (tmp_path / "buffalo_s" / "det.onnx").write_bytes(b"no model")
    finder = local_finder(tmp_path)
    assert isinstance(finder, InsightFaceFinder)
    with pytest.raises(WeightsError):
        InsightFaceFinder(tmp_path / "nothing")


def test_a_pack_is_named_by_root_and_name(tmp_path: Path) -> None:
    pack = tmp_path / "models" / "buffalo_s"
    pack.mkdir(parents=True)
    assert pack_place(pack) == (tmp_path, "buffalo_s")
