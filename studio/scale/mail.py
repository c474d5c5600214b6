"""Puts what an actor said into the store: files first, then the word, every word fenced."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from studio.core.events import Done, Event, Preview, SegmentDone, from_json
from studio.core.settings import Settings
from studio.jobs.parts import RECORD
from studio.jobs.store import JobStore
from studio.media.publish import write_bytes
from studio.scale.depot import Depot, Stored, stored_files
from studio.scale.outbox import ENDS, Letter
from studio.scale.shelf import CLIPS, PREVIEW, WORK, place


class Mail:
    """The letters of one attempt at one job."""

    def __init__(
        self, store: JobStore, settings: Settings, depot: Depot, job_id: str, worker_id: str
    ) -> None:
        self.store = store
        self.depot = depot
        self.job_id = job_id
        self.worker_id = worker_id
        self.acknowledged = 0
        self.ended = False
        self.roots = {WORK: settings.work_dir / job_id, CLIPS: settings.outputs_dir}

    def apply(self, letters: Iterable[Letter]) -> None:
        """Write every letter that is new into the store.

        Raises:
            LeaseLost: if the job is not this attempt's any more.
            StorageError: if the store or the disk cannot be written; the letter comes again.
        """
        for letter in letters:
            if letter.number > self.acknowledged:
                self._apply(letter)
                self.acknowledged = letter.number

    def _apply(self, letter: Letter) -> None:
        mine, values = (self.job_id, self.worker_id), letter.values
        match letter.call:
            case "report":
                self.store.report(*mine, self._arrived(from_json(values["event"]), letter.data))
            case "finish":
                self.store.finish(*mine, self._clip(values["event"]))
                self.depot.forget(self.job_id)
            case "fail":
                self.store.fail(*mine, values["error"], values["message"])
            case "stopped":
                # Whoever asked may have thought better of it; then the job just goes on later.
                if self.store.get(self.job_id).stop:
                    self.store.stopped(*mine)
                else:
                    self.store.requeue(*mine, "interrupted; it goes on at its next window")
            case "requeue":
                self.store.requeue(*mine, values["message"])
            case "interrupt":
                self.store.interrupt(self.worker_id, **values)
        self.ended = self.ended or letter.call in ENDS

    def _arrived(self, event: Event, data: bytes | None) -> Event:
        """The event with the front end's own paths, its files fetched."""
        if isinstance(event, Preview) and data is not None:
            path = self.roots[WORK] / PREVIEW
            write_bytes(path, data)
            return replace(event, path=str(path))
        if isinstance(event, SegmentDone):
            # The latents stay in the depot for whoever goes on; here only the clip is looked at.
            name = f"{WORK}/{Path(event.path).name}"
            return replace(event, path=str(self._fetch({name: self._files()[name]})[0]))
        return event

    def _clip(self, data: dict[str, Any]) -> Done:
        """The finished clip, fetched into the library; its record comes last."""
        done = from_json(data)
        assert isinstance(done, Done)
        files = {n: f for n, f in self._files().items() if n.startswith(f"{CLIPS}/")}
        records = {n: f for n, f in files.items() if n == f"{CLIPS}/{done.clip_id}.json"}
        self._fetch({n: f for n, f in files.items() if n not in records})
        path = self.roots[CLIPS] / Path(done.path).name
        # Records speak of the actor's folders; here they speak of the front end's.
        request = self.store.get(self.job_id).request
        for name in files:
            if Path(name).name == RECORD:
                _rewrite(place(self.roots, name), request={**request, "retake": None})
        for record in self._fetch(records):
            _rewrite(record, request=request, path=str(path))
        return replace(done, path=str(path), summary={**done.summary, "path": str(path)})

    def _fetch(self, files: dict[str, Stored]) -> list[Path]:
        paths = []
        for name, stored in files.items():
            path = place(self.roots, name)
            self.depot.take(self.job_id, stored, path)
            paths.append(path)
        return paths

    def _files(self) -> dict[str, Stored]:
        return stored_files(self.depot.manifest(self.job_id))


def _rewrite(record: Path, *, request: dict[str, Any], path: str | None = None) -> None:
    """Put the front end's request, and the clip's path, into a record."""
    text = json.loads(record.read_text(encoding="utf-8"))
    text["request"] = request
    if path is not None:
        text["summary"]["path"] = path
    write_bytes(record, json.dumps(text, ensure_ascii=False).encode())
