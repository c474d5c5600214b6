"""Who finds faces: InsightFace's models, OpenCV's YuNet, or nobody. One protocol for all.

What is found are boxes in pixels of the picture, the largest first. No model is in this
repository: their licences are their own (InsightFace's packs: research only unless licensed).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from studio.core.errors import MediaError, WeightsError
from studio.core.request import FaceBox

Picture = np.ndarray[Any, np.dtype[np.uint8]]

PACKS = ("buffalo_l", "buffalo_m", "buffalo_s", "buffalo_sc", "antelopev2")
PACK_LICENCE = (
    "InsightFace's model packs are for non-commercial research unless licensed otherwise "
    "(https://github.com/deepinsight/insightface/tree/master/model_zoo)"
)
PACK_HOME = Path("~/.insightface")
YUNET = "face_detection_yunet*.onnx"
SURE = 0.5
MARGIN = 0.25
"""A picture is set into a grey frame this wide before it is searched: faces at the border and
close-ups are found better."""


class FaceFinder(Protocol):
    """Looks for faces in a picture."""

    name: str

    def find(self, picture: Picture) -> list[FaceBox]:
        """The faces in `picture` uint8 [H,W,3], the largest first; none is no error."""
        ...


class InsightFaceFinder:
    """InsightFace's `FaceAnalysis` with a model pack that lies on this machine."""

    name = "InsightFace"

    def __init__(self, pack: Path) -> None:
        """`pack`: the folder with the pack's .onnx files.

        Raises:
            WeightsError: if it holds no detector.
        """
        folder = pack.expanduser()
        if not any(folder.glob("*.onnx")):
            raise WeightsError(
                f"{folder} holds no InsightFace model (.onnx); unpack a model pack there, "
                f"e.g. {PACKS[0]}"
            )
        self._folder = folder
        self._app: Any = None

    def find(self, picture: Picture) -> list[FaceBox]:
        """The protocol's."""
        padded, border = framed(picture)
        faces = self._opened().get(np.ascontiguousarray(padded[..., ::-1]))
        boxes = [np.asarray(face.bbox, float) - np.tile(border[::-1], 2) for face in faces]
        return largest_first(boxes, picture)

    def _opened(self) -> Any:
        if self._app is None:
            from insightface.app import FaceAnalysis

            # FaceAnalysis looks for ROOT/models/NAME, so a pack anywhere else is named by a link.
            root, name = pack_place(self._folder)
            try:
                self._app = FaceAnalysis(name, str(root), allowed_modules=["detection"])
                self._app.prepare(ctx_id=-1, det_thresh=SURE, det_size=(640, 640))
            except (AssertionError, ValueError, RuntimeError, OSError) as error:
                raise WeightsError(
                    f"the face models in {self._folder} cannot be used ({str(error)[:160]}); "
                    "unpack the model pack again"
                ) from error
        return self._app


class YuNetFinder:
    """OpenCV's YuNet; its model is a file of 230 KB."""

    name = "YuNet"

    def __init__(self, model: Path) -> None:
        self._model = model
        if not model.is_file():
            raise WeightsError(f"there is no face model at {model}; correct the path")

    def find(self, picture: Picture) -> list[FaceBox]:
        """The protocol's."""
        import cv2

        padded, border = framed(picture)
        size = (padded.shape[1], padded.shape[0])
        try:
            detector = cv2.FaceDetectorYN.create(str(self._model), "", size, SURE)
            _, rows = detector.detect(np.ascontiguousarray(padded[..., ::-1]))
        except cv2.error as error:
            raise WeightsError(
                f"{self._model} is no YuNet model ({str(error)[:120]}); download it again from "
                "OpenCV's model zoo"
            ) from error
        found = [] if rows is None else [np.asarray(row[:4], float) for row in rows]
        boxes = [np.array([x, y, x + w, y + h]) - np.tile(border[::-1], 2) for x, y, w, h in found]
        return largest_first(boxes, picture)


def pack_place(folder: Path) -> tuple[Path, str]:
    """(root, name) by which FaceAnalysis finds `folder`; linked into the cache where needed."""
    if folder.parent.name == "models":
        return folder.parent.parent, folder.name
    home = Path("~/.cache/video-studio/insightface").expanduser()
    link = home / "models" / folder.name
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    if not link.exists():
        link.symlink_to(folder.resolve(), target_is_directory=True)
    return home, folder.name


def local_finder(models_dir: Path | None = None) -> FaceFinder | None:
    """The best finder whose files are on this machine, or None.

    Looked for in `models_dir` (packs as folders, YuNet as a file) and in InsightFace's own home.
    """
    from importlib.util import find_spec

    homes = [d for d in (models_dir, PACK_HOME.expanduser() / "models") if d is not None]
    if find_spec("insightface") is not None:
        for home in homes:
            for name in PACKS:
                if any((home / name).glob("*.onnx")):
                    return InsightFaceFinder(home / name)
    if find_spec("cv2") is not None:
        for home in homes:
            for path in sorted(home.glob(YUNET)):
                return YuNetFinder(path)
    return None


def download_pack(models_dir: Path, name: str = PACKS[-2], *, licence_read: bool) -> Path:
    """Fetch a model pack into `models_dir`; its folder.

    Raises:
        WeightsError: before anything is fetched unless the licence was read; without a network.
    """
    if not licence_read:
        raise WeightsError(f"{PACK_LICENCE}; agree to it first, then download {name} again")
    folder = models_dir / name
    if any(folder.glob("*.onnx")):
        return folder
    from insightface.utils import ensure_available

    try:
        ensure_available("models", name, root=str(models_dir.parent))
    except (OSError, RuntimeError, ValueError) as error:
        raise WeightsError(
            f"the face models {name} cannot be fetched ({str(error)[:120]}); download {name}.zip "
            f"from InsightFace's releases and unpack it into {folder}"
        ) from error
    return folder


def framed(picture: Picture) -> tuple[Picture, np.ndarray]:
    """`picture` in a grey frame, and the frame's (top, left) in pixels.

    Raises:
        MediaError: if it is no picture uint8 [H,W,3].
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise MediaError("faces are looked for in pictures uint8 [height, width, 3]")
    border = np.ceil(MARGIN * np.array(picture.shape[:2])).astype(int)
    pads = [(int(b), int(b)) for b in border]
    return np.pad(picture, [*pads, (0, 0)], constant_values=128), border


def largest_first(boxes: list[np.ndarray], picture: Picture) -> list[FaceBox]:
    """Boxes (x0, y0, x1, y1) cut to the picture, the largest first; empty ones are left out."""
    height, width = picture.shape[:2]
    found = []
    for box in boxes:
        x0, x1 = np.clip(np.round(box[[0, 2]]), 0, width).astype(int)
        y0, y1 = np.clip(np.round(box[[1, 3]]), 0, height).astype(int)
        if x1 > x0 and y1 > y0:
            found.append(FaceBox(x=int(x0), y=int(y0), width=int(x1 - x0), height=int(y1 - y0)))
    return sorted(found, key=lambda box: -box.width * box.height)
