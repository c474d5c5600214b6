"""A family's denoiser as a whole and as its guidance branches, or with its tokens shared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from studio.core.plan import Plan
from studio.models.family import Conditions, Family, PromptEmbeds
from studio.scale.shares import View

if TYPE_CHECKING:
    from studio.models.manager import ModelManager
    from studio.sampling.loop import Denoise


@contextmanager
def opened(
    family: Family, models: ModelManager, conditions: Conditions, by: str, world: int
) -> Iterator[dict[View, Denoise]]:
    """The denoiser as a whole and by its branches, the transformer in memory."""
    from studio.models.parallel import share_tokens, transformer_of

    # Of two branches each is the guided denoiser without guidance, under one of the prompts.
    plain = replace(conditions.plan, guidance_scale=1.0)
    branches: dict[View, Conditions] = {
        "positive": replace(conditions, plan=plain, prompts=conditions.prompts),
        "negative": replace(
            conditions, plan=plain, prompts=lambda f: _negative(conditions.prompts(f))
        ),
    }
    with ExitStack() as held:
        if by in ("ulysses", "ring"):
            kind: Any = by
            spec = transformer_of(family)
            # A transformer that shares tokens is of no use to anybody alone.
            held.callback(models.free, spec)
            share_tokens(held.enter_context(models.use(spec)), kind, world)
        views: dict[View, Denoise] = {
            "guided": held.enter_context(family.open_denoiser(models, conditions))
        }
        if by == "windows" and can_split(family, conditions.plan):
            for view, changed in branches.items():
                views[view] = held.enter_context(family.open_denoiser(models, changed))
        yield views


def can_split(family: Family, plan: Plan) -> bool:
    """Whether guidance is the plain sum of two branches, so that they may be computed apart."""
    preset = family.preset
    one_scale = preset.defaults.guidance_scale_2 is None
    return preset.family == "wan" and one_scale and plan.branches == 2


def _negative(embeds: PromptEmbeds) -> PromptEmbeds:
    assert embeds.negative is not None
    return PromptEmbeds(embeds.negative, None, embeds.extras)
