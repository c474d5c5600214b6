"""The tables of the job store, and how an older store becomes a newer one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from studio.core.errors import StorageError

BUSY_TIMEOUT_MS = 15_000

_FIRST = """
CREATE TABLE meta (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    rev INTEGER NOT NULL DEFAULT 0,
    turn INTEGER NOT NULL DEFAULT 0,
    held TEXT NOT NULL DEFAULT '' CHECK (held IN ('', 'user', 'storage', 'worker')),
    held_message TEXT NOT NULL DEFAULT ''
);
INSERT INTO meta (only) VALUES (1);

CREATE TABLE job (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 8 AND 40),
    owner TEXT NOT NULL CHECK (length(owner) BETWEEN 1 AND 200),
    key TEXT CHECK (key IS NULL OR length(key) BETWEEN 1 AND 200),
    kind TEXT NOT NULL CHECK (kind IN ('t2v', 'i2v', 'flf2v', 'avatar')),
    preset TEXT NOT NULL,
    request TEXT NOT NULL CHECK (json_valid(request)),
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN
        ('queued', 'running', 'done', 'failed', 'canceled', 'interrupted', 'paused')),
    priority INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -100 AND 100),
    position REAL NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    strikes INTEGER NOT NULL DEFAULT 0 CHECK (strikes >= 0),
    rung INTEGER NOT NULL DEFAULT 0 CHECK (rung >= 0),
    worker TEXT,
    lease_until REAL,
    beats INTEGER NOT NULL DEFAULT 0,
    stop TEXT NOT NULL DEFAULT '' CHECK (stop IN ('', 'cancel', 'pause', 'kill')),
    progress TEXT CHECK (progress IS NULL OR json_valid(progress)),
    preview TEXT,
    message TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    clip_id TEXT,
    path TEXT,
    summary TEXT CHECK (summary IS NULL OR json_valid(summary)),
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    CHECK ((state = 'running') = (worker IS NOT NULL)),
    CHECK (state != 'done' OR clip_id IS NOT NULL)
);
CREATE UNIQUE INDEX job_key ON job (owner, key) WHERE key IS NOT NULL;
CREATE INDEX job_turn ON job (state, owner, priority, position);
CREATE INDEX job_top ON job (state, priority);
CREATE INDEX job_owner ON job (owner, seq);

CREATE TABLE turn (owner TEXT PRIMARY KEY, last INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX turn_last ON turn (last, owner);

CREATE TABLE segment (
    job INTEGER NOT NULL REFERENCES job (seq) ON DELETE CASCADE,
    window INTEGER NOT NULL CHECK (window >= 0),
    path TEXT NOT NULL,
    start_frame INTEGER NOT NULL CHECK (start_frame >= 0),
    frames INTEGER NOT NULL CHECK (frames > 0),
    sha256 TEXT NOT NULL,
    PRIMARY KEY (job, window)
) WITHOUT ROWID;

CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL REFERENCES job (seq) ON DELETE CASCADE,
    first_s REAL NOT NULL,
    last_s REAL NOT NULL,
    kind TEXT NOT NULL,
    json TEXT NOT NULL CHECK (json_valid(json))
);
CREATE INDEX event_job ON event (job, seq);

CREATE TRIGGER job_added AFTER INSERT ON job BEGIN UPDATE meta SET rev = rev + 1; END;
CREATE TRIGGER job_gone AFTER DELETE ON job BEGIN UPDATE meta SET rev = rev + 1; END;
CREATE TRIGGER job_changed AFTER UPDATE OF state, priority, position, stop, progress, preview,
    message, clip_id, attempt ON job BEGIN UPDATE meta SET rev = rev + 1; END;
CREATE TRIGGER event_added AFTER INSERT ON event BEGIN UPDATE meta SET rev = rev + 1; END;
CREATE TRIGGER held_changed AFTER UPDATE OF held, held_message ON meta
    WHEN old.held != new.held OR old.held_message != new.held_message
    BEGIN UPDATE meta SET rev = rev + 1; END;
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
"""Script k takes a store from user_version k to k + 1."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode with the pragmas the store relies on."""
    db = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
    )
    db.row_factory = sqlite3.Row
    db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def migrate(db: sqlite3.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> None:
    """Bring the store to the newest version, each step in one transaction.

    Raises:
        StorageError: if the store was written by a newer studio.
    """
    while True:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(migrations):
            raise StorageError(
                f"the job store has version {version} but this studio knows {len(migrations)}; "
                "update the studio or choose another --data-dir"
            )
        if version == len(migrations):
            return
        _step(db, version, migrations[version])


def _step(db: sqlite3.Connection, version: int, script: str) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated while this one waited for the lock.
        if db.execute("PRAGMA user_version").fetchone()[0] == version:
            for statement in statements(script):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {version + 1}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def statements(script: str) -> list[str]:
    """The statements of an SQL script, one by one (`executescript` would commit in between)."""
    found, part = [], ""
    for piece in script.split(";"):
        part += piece + ";"
        if sqlite3.complete_statement(part) and part.strip() != ";":
            found.append(part.strip())
            part = ""
    return found
