"""Diffusers' context parallelism, on processors too: a forward's tokens shared by processes.

Ulysses exchanges heads, ring passes keys and values around; both give what one process gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from studio.core.errors import RequestError

if TYPE_CHECKING:
    from studio.models.component import ComponentSpec
    from studio.models.family import Family

Kind = Literal["ulysses", "ring"]


def transformer_of(family: Family) -> ComponentSpec:
    """The one transformer of a family.

    Raises:
        RequestError: for a family with two experts, or none that we know.
    """
    parts = [s for name, s in family.components().items() if name.startswith("transformer")]
    if len(parts) != 1:
        raise RequestError(
            f"{family.preset.title} has {len(parts)} transformers and cannot share tokens; "
            "use STUDIO_SPREAD_BY=windows"
        )
    return parts[0]


def share_tokens(module: Any, kind: Kind, world: int) -> bool:
    """Make each forward of `module` one part in `world`; False if that was done before.

    All processes of the default group must call the module together, with equal inputs.

    Raises:
        RequestError: for a model without a plan, or whose heads cannot be divided.
    """
    from diffusers import ContextParallelConfig

    if getattr(module, "_parallel_config", None) is not None:
        return False
    if not getattr(module, "_cp_plan", None):
        raise RequestError(
            f"{type(module).__name__} has no plan for sharing tokens; use STUDIO_SPREAD_BY=windows"
        )
    heads = getattr(module.config, "num_attention_heads", world)
    if kind == "ulysses" and heads % world:
        raise RequestError(
            f"ulysses needs a number of heads ({heads}) that {world} devices divide; "
            "use another STUDIO_SPREAD, or STUDIO_SPREAD_BY=ring"
        )
    if module.device.type == "cpu" and kind == "ring":
        _give_sums_on_cpu()
    module.register_forward_pre_hook(_checks_tokens(world), with_kwargs=True)
    config = ContextParallelConfig(**{f"{kind}_degree": world})
    with _one_device(module.device.type):
        module.enable_parallelism(config=config)
    return True


def _checks_tokens(world: int) -> Callable[..., None]:
    """A hook that refuses what the processes cannot share evenly, in all of them alike."""

    def check(module: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        x = named["hidden_states"] if "hidden_states" in named else args[0]
        patch = module.config.patch_size
        sizes = patch if isinstance(patch, list | tuple) else (1, patch, patch)
        tokens = math.prod(n // p for n, p in zip(x.shape[2:], sizes, strict=True))
        if tokens % world:
            raise RequestError(
                f"a window has {tokens} tokens, which {world} devices cannot share evenly; "
                "change the size or the window, or use STUDIO_SPREAD_BY=windows"
            )

    return check


@contextmanager
def _one_device(kind: str) -> Iterator[None]:
    """On a processor diffusers asks how many accelerators there are and divides by the answer."""
    import torch

    if kind != "cpu" or torch.accelerator.device_count():
        yield
        return
    real = torch.accelerator.device_count
    torch.accelerator.device_count = lambda: 1
    try:
        yield
    finally:
        torch.accelerator.device_count = real


def _give_sums_on_cpu() -> None:
    """Let plain attention give the log of its sums too, which ring needs and torch has on CPUs."""
    from diffusers.models import attention_dispatch as dispatch

    if not getattr(dispatch, "_studio_ring", False):
        dispatch._native_attention_forward_op = _with_sums(dispatch._native_attention_forward_op)
        dispatch._studio_ring = True


def _with_sums(plain: Any) -> Any:
    import torch

    # Diffusers calls it by place: query, key, value, mask, dropout, causal, scale, gqa, sums.
    def forward(ctx: Any, *given: Any, **named: Any) -> Any:
        if not (named.get("return_lse") or (len(given) > 8 and given[8])):
            return plain(ctx, *given, **named)
        mask = named.get("attn_mask", given[3] if len(given) > 3 else None)
        scale = named.get("scale", given[6] if len(given) > 6 else None)
        parts = (part.permute(0, 2, 1, 3) for part in given[:3])
        out, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            *parts, attn_mask=mask, scale=scale
        )
        # Rows before heads, as diffusers has them.
        return out.permute(0, 2, 1, 3), sums.permute(0, 2, 1)

    return forward
