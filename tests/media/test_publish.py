"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from studio.core.errors import StorageError
from studio.media.publish import atomic_path, remove_leftovers, write_bytes


def write_half(path: Path, number: int) -> None:
    path.write_bytes(b"half")
    raise OSError(number, os.strerror(number))


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.bin"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"x")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_bytes() == b"x"
    assert [p.name for p in target.parent.iterdir()] == ["a.bin"]


def test_errors_of_the_block_pass_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes(Path("/nowhere/at/all").read_bytes())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_storage_error(tmp_path: Path, number: int) -> None:
    write_bytes(tmp_path / "a", b"old")
    with pytest.raises(StorageError, match="the disk is full"), atomic_path(tmp_path / "a") as t:
        write_half(t, number)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


def test_a_block_that_writes_nothing_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"), atomic_path(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_only_leftovers_of_dead_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / f".a.{os.getpid()}-00aa.tmp").touch()
    (tmp_path / ".a.999999999-00bb.tmp").touch()
    (tmp_path / "mine.tmp").touch()
    assert remove_leftovers(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".a.{os.getpid()}-00aa.tmp", "mine.tmp"]
