"""The yardstick for directed prompts tells a model that follows them from one that does not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from studio.commands.bench_director import CAMERAS, bare_ideas, follow_director
from studio.pocket.vocabulary import CLIP_FRAMES, Scene
from studio.pocket.world import draw_scene


def drawn(obey: bool) -> object:
    """A model that draws what prompts say, or the same clip whatever they say."""

    def generate(prompts: list[str], seeds: list[int]) -> Iterator[np.ndarray]:
        for prompt, seed in zip(prompts, seeds, strict=True):
            idea = next(i for i in bare_ideas(4) if f"{i.colour} {i.shape}" in prompt)
            camera = next((c for c in CAMERAS.values() if f"camera {c}" in prompt), "static")
            scene = Scene(
                size="large",
                colour=idea.colour if obey else "white",
                shape=idea.shape if obey else "ball",
                motion=idea.motion if obey else "stays still",
                place="meadow",
                light="day",
                camera=camera if obey else "static",
            )
            yield draw_scene(scene, np.random.default_rng(seed), CLIP_FRAMES)

    return generate


def test_a_model_that_obeys_passes_and_one_that_does_not_fails() -> None:
    ideas = bare_ideas(4)
    good = follow_director(drawn(True), ideas)  # type: ignore[arg-type]
    bad = follow_director(drawn(False), ideas)  # type: ignore[arg-type]
    assert good["follow_directed"] >= 0.9  # type: ignore[operator]
    assert good["camera"] == 1.0
    assert bad["follow_directed"] < 0.5  # type: ignore[operator]


def test_the_thirty_ideas_differ() -> None:
    ideas = bare_ideas(30)
    assert len({idea.text for idea in ideas}) == 30
    assert len({idea.motion for idea in ideas}) == 8
