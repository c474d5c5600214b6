"""The director's local back end: a language model in a process of its own.

The process that serves pages never imports torch, and the model's memory is back, to the last
byte, before a video model is loaded: the process that held it has ended.
`python -m studio.jobs.local_writer` reads one question as JSON and writes one answer.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from studio.core.errors import BackendError, StudioError
from studio.core.preset import Preset
from studio.core.settings import ROOT, Settings
from studio.director.endpoint import build, messages
from studio.director.shots import DirectorMode, Rewrite
from studio.jobs.process import die_with

log = logging.getLogger("studio.director")
_PASSED_ON = ("data_dir", "device", "threads", "budget_bytes")
_turn = threading.Lock()
"""One language model at a time: two would need twice the memory."""


@dataclass(frozen=True)
class LocalModel:
    """An instruct model in a folder or on the hub."""

    settings: Settings
    model: str
    timeout_s: float = 180.0

    def __call__(self, idea: str, mode: DirectorMode, preset: Preset) -> Rewrite:
        """The model's rewrite.

        Raises:
            BackendError: no answer in time, a failure, or an answer that is not the JSON asked for.
        """
        try:
            text = self._ask(messages(idea, mode, preset))
            return build(idea, mode, preset, text, backend="local")
        except BackendError as error:
            raise BackendError(f"the local model gave no usable answer ({error})") from error

    def _ask(self, said: list[dict[str, str]]) -> str:
        deadline = time.monotonic() + self.timeout_s
        if not _turn.acquire(timeout=self.timeout_s):
            raise BackendError("it is busy with another idea")
        try:
            return self._run(said, max(1.0, deadline - time.monotonic()))
        finally:
            _turn.release()

    def _run(self, said: list[dict[str, str]], seconds: float) -> str:
        kept = self.settings.model_dump(mode="json", include=set(_PASSED_ON))
        question = {"settings": kept, "model": self.model, "messages": said, "seconds": seconds}
        command = [sys.executable, "-m", "studio.jobs.local_writer", str(os.getpid())]
        try:
            ended = subprocess.run(
                command,
                input=json.dumps(question).encode(),
                capture_output=True,
                timeout=seconds,
                cwd=ROOT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BackendError("it did not answer in time") from error
        except OSError as error:
            raise BackendError(f"it could not be started: {error.strerror}") from error
        return self._read(ended)

    def _read(self, ended: subprocess.CompletedProcess[bytes]) -> str:
        lines = ended.stdout.decode("utf-8", "replace").splitlines()
        try:
            value = json.loads(lines[-1])
            problem, text = value.get("error"), value.get("answer")
        except (ValueError, IndexError, AttributeError) as error:
            log.warning("local model: %s", ended.stderr.decode("utf-8", "replace")[-2000:])
            raise BackendError(f"it ended with status {ended.returncode}") from error
        if problem:
            raise BackendError(str(problem))
        return str(text)


def main() -> int:
    """Answer the question on stdin; the exit status."""
    if not die_with(int(sys.argv[1])):
        return 0
    question: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    from studio.jobs.context import make_models
    from studio.models.instruct import answer

    try:
        models = make_models(Settings(**question["settings"]))
        text = answer(models, question["model"], question["messages"], question["seconds"])
        value = {"answer": text}
    except StudioError as error:
        value = {"error": str(error)}
    sys.stdout.write("\n" + json.dumps(value) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
