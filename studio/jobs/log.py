"""Structured logs: one JSON object a line."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from studio.core.errors import StorageError

MAX_BYTES = 5 * 2**20
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """A record as JSON: time, level, logger, message, and whatever was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {k: v for k, v in vars(record).items() if k not in _PLAIN}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_to_file(path: Path, logger: str = "studio") -> None:
    """Add JSON lines of `logger` to the file at `path`, and its warnings to stderr.

    The file is set aside when it grows long; two old ones are kept.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(path, maxBytes=MAX_BYTES, backupCount=2, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"the log {path} cannot be written ({error.strerror}); "
            "correct its permissions or choose another --data-dir"
        ) from error
    loud = logging.StreamHandler()
    loud.setLevel(logging.WARNING)
    target = logging.getLogger(logger)
    target.setLevel(logging.INFO)
    target.propagate = False
    for handler in (file, loud):
        handler.setFormatter(JsonLines())
        target.addHandler(handler)


def log_as_json(stream: TextIO, level: int = logging.INFO) -> None:
    """Send all logs of this process to `stream` as JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
