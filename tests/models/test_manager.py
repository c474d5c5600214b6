"""Loading late, counting bytes and evicting, with parts of a few kilobytes."""

from __future__ import annotations

import pytest

from studio.core.errors import MemoryBudgetError
from studio.models.component import ComponentSpec
from studio.models.eviction import Candidate, evict
from studio.models.manager import ModelManager, _cgroup_free

UNIT = 1024


class Part:
    """A loaded part that knows its name."""

    def __init__(self, name: str) -> None:
        self.name = name


def spec(name: str, units: int, log: list[str] | None = None) -> ComponentSpec:
    def load(device: object) -> Part:
        if log is not None:
            log.append(name)
        return Part(name)

    return ComponentSpec(key=name, kind=name, load=load, bytes=units * UNIT)


def use(models: ModelManager, part: ComponentSpec) -> None:
    with models.use(part) as module:
        assert module.name == part.key


def test_nothing_is_loaded_before_its_first_use_and_then_once() -> None:
    log: list[str] = []
    models = ModelManager(4 * UNIT)
    part = spec("a", 2, log)
    assert log == []
    use(models, part)
    use(models, spec("a", 2, log))
    assert log == ["a"]
    assert models.loads["a"] == 1
    assert models.resident_bytes() == 2 * UNIT


def test_the_least_recently_used_part_leaves() -> None:
    # usable 5: a 2 + b 2 are there, c 2 needs 1 more: a was used again, so b goes
    models = ModelManager(5 * UNIT)
    for part in (spec("a", 2), spec("b", 2), spec("a", 2)):
        use(models, part)
    use(models, spec("c", 2))
    assert set(models.total_bytes()) == {"a", "c"}


def test_a_part_in_use_never_leaves() -> None:
    models = ModelManager(3 * UNIT)
    with models.use(spec("a", 2)):
        with pytest.raises(MemoryBudgetError, match=r"2,048 bytes.*1,024 bytes.*STUDIO_BUDGET"):
            use(models, spec("b", 2))
        assert set(models.total_bytes()) == {"a"}
    use(models, spec("b", 2))
    assert set(models.total_bytes()) == {"b"}


def test_locks_are_counted() -> None:
    models = ModelManager(4 * UNIT)
    part = spec("a", 2)
    with models.use(part):
        with models.use(part):
            assert not models.free(part)
        assert not models.free(part)
    assert models.free(part)
    assert models.resident_bytes() == 0


def test_a_load_that_fails_leaves_nothing() -> None:
    def broken(device: object) -> Part:
        raise RuntimeError("half")

    models = ModelManager(4 * UNIT)
    with pytest.raises(RuntimeError, match="half"):
        use(models, ComponentSpec("x", "vae", broken, UNIT))
    assert models.total_bytes() == {}
    assert models.loads["x"] == 0


def test_an_error_inside_the_block_unlocks() -> None:
    models = ModelManager(4 * UNIT)

    def fail() -> None:
        with models.use(spec("a", 1)):
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fail()
    models.free_all()
    assert models.resident_bytes() == 0


def test_switching_ten_times_does_not_grow() -> None:
    models = ModelManager(6 * UNIT)
    after = []
    for _ in range(10):
        for part in (spec("text", 3), spec("transformer", 4), spec("vae", 1)):
            use(models, part)
        after.append(models.resident_bytes())
    assert len(set(after)) == 1
    assert max(after) <= 6 * UNIT


def test_eviction_frees_no_more_than_needed() -> None:
    # oldest first: 1 then 4; need 4: the 4 alone is enough, the 1 may stay
    parts = [Candidate("small", 1, 0), Candidate("big", 4, 1), Candidate("new", 4, 2)]
    assert evict(parts, 4) == ["big"]
    assert evict(parts, 5) == ["small", "big"]
    assert evict(parts, 0) == []
    assert evict(parts, 10) is None
    assert evict([Candidate("a", 9, 0, locked=True)], 1) is None


def test_a_container_limit_counts(tmp_path: object) -> None:
    from pathlib import Path

    root = Path(str(tmp_path))
    assert _cgroup_free(root) is None
    (root / "memory.max").write_text("1000\n")
    (root / "memory.current").write_text("400\n")
    assert _cgroup_free(root) == 600
    (root / "memory.max").write_text("max\n")
    assert _cgroup_free(root) is None
