"""How a clip was made, written into the clip and read back.

`comment` holds JSON of this project's own, `parameters` the text that other tools read. What is
read back is untrusted: bounded, JSON only, validated by the request model, and never a path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from studio import __version__
from studio.core.errors import MediaError, RequestError, StudioError
from studio.core.request import (
    AudioAvatar,
    BaseRequest,
    FirstLastFrame,
    ImageToVideo,
    Request,
    TextToVideo,
    dump_request,
    parse_request,
)
from studio.media.decode import LIMITS, check_file, open_container

SCHEMA = 1
MAX_TAG_BYTES = 256 * 1024
APP = "video-studio"
KINDS: dict[str, type[BaseRequest]] = {
    "t2v": TextToVideo,
    "i2v": ImageToVideo,
    "flf2v": FirstLastFrame,
    "avatar": AudioAvatar,
}
EMBEDDED_SUMMARY = ("seed", "width", "height", "fps", "frames", "windows", "method", "model")
Source = Literal["comment", "sidecar", "parameters"]


@dataclass(frozen=True)
class Embedded:
    """Settings found in a file. File names in `request` are names only, without folders."""

    request: Request
    source: Source
    summary: dict[str, Any]
    notices: tuple[str, ...] = ()
    """What was not understood or left out, each a sentence."""


def clip_tags(request: Request, summary: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The container tags of a clip made from `request`.

    `summary` is what `generate --json` prints; its seed, size, rate and windows are kept.
    """
    about = {k: v for k, v in (summary or {}).items() if k in EMBEDDED_SUMMARY}
    record = {
        "schema": SCHEMA,
        "app": APP,
        "version": __version__,
        "request": without_folders(dump_request(request)),
        "summary": about,
    }
    comment = _compact(record)
    if len(comment.encode()) > MAX_TAG_BYTES:
        record["summary"] = {k: v for k, v in about.items() if k != "windows"}
        comment = _compact(record)
    prompt = request.prompt or "; ".join(shot.prompt for shot in request.shots)
    return {
        "comment": comment,
        "parameters": parameters_text(request, about),
        "title": prompt[:100] or f"{request.mode} clip",
        "description": prompt,
        "software": f"{APP} {__version__}",
    }


def parameters_text(request: Request, summary: Mapping[str, Any]) -> str:
    """The settings as the text that Automatic1111, Forge and Civitai read."""
    prompt = request.prompt or "; ".join(shot.prompt for shot in request.shots)
    items = {
        "Steps": request.num_inference_steps,
        "CFG scale": request.guidance_scale,
        "Seed": summary.get("seed", request.seed),
        "Size": _size(summary.get("width"), summary.get("height")),
        "Model": request.preset,
        "Frames": summary.get("frames"),
        "FPS": summary.get("fps"),
    }
    last = ", ".join(f"{key}: {value}" for key, value in items.items() if value is not None)
    negative = f"Negative prompt: {request.negative_prompt}\n" if request.negative_prompt else ""
    return f"{prompt}\n{negative}{last}"


def read_metadata(path: str | Path) -> Embedded:
    """The settings in a clip, in the JSON file beside it, or in a JSON file itself.

    Raises:
        MediaError: if there are none that can be used.
    """
    file = Path(path)
    if file.suffix.lower() == ".json":
        return _from_json(_read_sidecar(file), "sidecar")
    tags = _tags(file)
    problems: list[StudioError] = []
    for source, text in _candidates(file, tags.get("comment", "")):
        try:
            return _from_json(text, source)
        except (MediaError, RequestError) as error:
            problems.append(error)
    if tags.get("parameters"):
        return _from_parameters(tags["parameters"])
    if problems:
        raise MediaError(f"the settings in {file.name} cannot be used: {problems[0]}")
    raise MediaError(
        f"{file.name} does not say how it was made; drop in a clip of this studio or its JSON file"
    )


def _candidates(file: Path, comment: str) -> Iterator[tuple[Source, str]]:
    """JSON texts that may hold the settings of a clip, best first."""
    if comment:
        yield "comment", comment
    sidecar = file.with_suffix(".json")
    if sidecar.is_file():
        yield "sidecar", _read_sidecar(sidecar)


def without_folders(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request's plain data with every path reduced to the file's name."""
    plain = dict(request)
    for key in ("image", "last_image", "continue_from"):
        if isinstance(plain.get(key), str):
            plain[key] = _name(plain[key])
    if isinstance(plain.get("audio"), list | tuple):
        plain["audio"] = [_name(a) if isinstance(a, str) else a for a in plain["audio"]]
    if isinstance(plain.get("loras"), list | tuple):
        plain["loras"] = [
            {**lora, "path": _name(lora["path"])}
            for lora in plain["loras"]
            if isinstance(lora, dict) and isinstance(lora.get("path"), str)
        ]
    return plain


def _name(path: str) -> str:
    """The last part of a POSIX or Windows path."""
    return PureWindowsPath(path).name or "unknown"


def _compact(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _size(width: object, height: object) -> str | None:
    return f"{width}x{height}" if width and height else None


def _tags(file: Path) -> dict[str, str]:
    """The container's tags, lower-case keys (Matroska writes capitals), overlong ones dropped."""
    with open_container(file, "clip", LIMITS.size_bytes) as container:
        found = {key.lower(): value for key, value in container.metadata.items()}
    return {key: value for key, value in found.items() if len(value) <= MAX_TAG_BYTES}


def _read_sidecar(file: Path) -> str:
    check_file(file, "settings file", MAX_TAG_BYTES)
    return file.read_bytes().decode("utf-8", errors="replace")


def _from_json(text: str, source: Source) -> Embedded:
    """The request in a JSON text.

    Raises:
        MediaError: if it is not JSON of this project's.
        RequestError: if its request breaks a rule.
    """
    try:
        record = json.loads(text[:MAX_TAG_BYTES])
    except (ValueError, RecursionError) as error:
        raise MediaError("they are not JSON; drop in a clip of this studio") from error
    inner = record.get("request") if isinstance(record, dict) else None
    kind = inner.get("kind") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(kind, str) or kind not in KINDS:
        raise MediaError("they are not of this studio; drop in a clip of this studio")
    known = KINDS[kind].model_fields
    unknown = sorted(str(key)[:40] for key in inner if key not in known)
    plain = without_folders({key: value for key, value in inner.items() if key in known})
    notices = (f"settings that are not known here were left out: {', '.join(unknown[:8])}",)
    summary = record.get("summary")
    return Embedded(
        request=parse_request(plain),
        source=source,
        summary=summary if isinstance(summary, dict) else {},
        notices=notices if unknown else (),
    )


def _from_parameters(text: str) -> Embedded:
    """A text-to-video request from the text that other tools write; best effort."""
    lines = text.strip().splitlines()
    split = next((i for i, line in enumerate(lines) if re.match(r"Steps: \d", line)), len(lines))
    settings = dict(re.findall(r"([A-Z][\w ]*): ([^,]+)", " ".join(lines[split:])))
    words = "\n".join(lines[:split]).split("Negative prompt:", 1)
    plain: dict[str, Any] = {"kind": "t2v", "prompt": words[0]}
    width, _, height = settings.get("Size", "").partition("x")
    wanted = {
        "negative_prompt": words[1] if len(words) > 1 else None,
        "num_inference_steps": _number(settings.get("Steps")),
        "guidance_scale": _number(settings.get("CFG scale")),
        "seed": _number(settings.get("Seed")),
        "width": _number(width),
        "height": _number(height),
    }
    left_out = []
    request = parse_request(plain)
    for key, value in wanted.items():
        if value is None:
            continue
        try:
            request = parse_request({**plain, key: value})
        except RequestError:
            left_out.append(key)
        else:
            plain[key] = value
    notices = ["the settings are another tool's: the model and the sampler were not taken over"]
    if left_out:
        notices.append(f"settings out of range were left out: {', '.join(left_out)}")
    return Embedded(request, "parameters", {}, tuple(notices))


def _number(text: str | None) -> int | float | None:
    if text is None or not re.fullmatch(r"\d{1,19}(\.\d{1,9})?", text.strip()):
        return None
    return float(text) if "." in text else int(text)
