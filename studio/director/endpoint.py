"""The endpoint back end: any OpenAI-compatible server, through huggingface_hub's InferenceClient.

The server's address comes from the settings only. What it answers is text for a prompt: it is
validated against a schema, never executed and never used as a path.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from studio.core.errors import BackendError
from studio.core.preset import Preset
from studio.core.request import Frozen, Join, clean_prompt
from studio.director.rules import compose
from studio.director.shots import (
    CAMERA_MOVES,
    Backend,
    CameraMove,
    DirectedShot,
    DirectorMode,
    Rewrite,
)

MAX_ANSWER_CHARS = 20_000
_TEXTS = ("short", "dense", "background", "style", "shot_type", "lighting", "atmosphere")
_RULES = {
    "normal": "Say exactly what the user meant, more precisely; do not change the meaning.",
    "director": "Direct it: add composition, light and one camera move for visual quality.",
}
_SYSTEM = """You turn an idea for a video into a list of shots. {rule}
Keep every quoted string, number, name and negation of the idea word for word. Write {language}.
A shot's fields together have {low} to {high} words. Camera is one of: {moves}.
Answer with JSON only: {{"shots": [{{"seconds": 2, "join": "continue", "short": "", "dense": "", \
"background": "", "style": "", "shot_type": "", "lighting": "", "atmosphere": "", \
"camera": ""}}]}}"""


class _Card(Frozen):
    seconds: float
    join: Join = "continue"
    short: str
    dense: str = ""
    background: str = ""
    style: str = ""
    shot_type: str = ""
    lighting: str = ""
    atmosphere: str = ""
    camera: CameraMove = "static shot"


class _Answer(Frozen):
    shots: tuple[_Card, ...]


@dataclass(frozen=True)
class Endpoint:
    """A configured server."""

    base_url: str
    model: str
    api_key: str = ""
    timeout_s: float = 20.0
    attempts: int = 2

    def __call__(self, idea: str, mode: DirectorMode, preset: Preset) -> Rewrite:
        """The server's rewrite.

        Raises:
            BackendError: no answer in time, a failure, or an answer that is not the JSON asked for.
        """
        deadline = time.monotonic() + self.timeout_s
        problem = "it did not answer in time"
        for _ in range(self.attempts):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            try:
                return build(idea, mode, preset, self._ask(idea, mode, preset, left))
            except BackendError as error:
                problem = str(error)
        raise BackendError(f"the prompt server gave no usable answer ({problem})")

    def _ask(self, idea: str, mode: DirectorMode, preset: Preset, timeout_s: float) -> str:
        from huggingface_hub import InferenceClient

        client: Any = InferenceClient(
            base_url=self.base_url, api_key=self.api_key or "none", timeout=timeout_s
        )
        try:
            answer: Any = client.chat_completion(
                messages=messages(idea, mode, preset),
                model=self.model or None,
                max_tokens=1200,
                temperature=0.2,
                response_format={"type": "json_object"},
            )
            return str(answer.choices[0].message.content or "")
        except Exception as error:
            # InferenceClient raises whatever its transport raises; to the user it is one thing.
            raise BackendError(f"{type(error).__name__}") from error


def messages(idea: str, mode: DirectorMode, preset: Preset) -> list[dict[str, str]]:
    """The conversation that is sent: the rules as system message, the idea as data."""
    low, high = preset.prompt_words
    languages = {"en": "English", "zh": "Chinese", "any": "the idea's language"}
    system = _SYSTEM.format(
        rule=_RULES.get(mode, _RULES["normal"]),
        language=languages[preset.prompt_language],
        low=low,
        high=high,
        moves=", ".join(CAMERA_MOVES),
    )
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": json.dumps({"idea": idea}, ensure_ascii=False)},
    ]


def build(
    idea: str, mode: DirectorMode, preset: Preset, answer: str, backend: Backend = "endpoint"
) -> Rewrite:
    """A rewrite from a server's or a local model's answer.

    Raises:
        BackendError: if it is too long, not JSON, or not the fields asked for.
    """
    if len(answer) > MAX_ANSWER_CHARS:
        raise BackendError(f"its answer has {len(answer)} characters")
    start, stop = answer.find("{"), answer.rfind("}")
    try:
        cards = _Answer.model_validate(json.loads(answer[start : stop + 1])).shots
        shots = tuple(_card(c, preset) for c in cards[:32])
    except (ValidationError, ValueError, RecursionError) as error:
        raise BackendError("its answer is not the JSON that was asked for") from error
    if not shots:
        raise BackendError("its answer has no shots")
    text = "\n".join(s.text for s in shots)
    return Rewrite(original=idea, mode=mode, shots=shots, text=text, backend=backend)


def _card(card: _Card, preset: Preset) -> DirectedShot:
    texts: dict[str, Any] = {k: clean_prompt(getattr(card, k)) for k in _TEXTS}
    seconds = min(max(0.5, card.seconds), preset.limits.max_seconds)
    shot = DirectedShot(seconds=seconds, join=card.join, camera=card.camera, **texts)
    return shot.model_copy(update={"text": compose(shot, preset)})
