"""Train the pocket transformer by flow matching, with a time-based schedule and resuming.

The learning rate is constant after a short warm-up and falls to zero between `cool` and
`until`. The state before the fall is kept as `before_cooling.pt`, so that a later sitting
can go on from there. Several processes share the work by averaging their gradients.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from studio.models.prior import FILE_NAME, TokenPrior, to_tokens
from studio.pocket.batches import Batch, Batches, TextEncoder
from studio.pocket.dataset import WINDOW, Rows
from studio.pocket.latents import CHANNELS

_log = logging.getLogger(__name__)

SHIFT = 3.0
NOISY = 0.7  # the mean of the logit: what moves where is decided at high noise
WARM_UP = 120
BUCKETS = (0.5, 0.75, 0.9, 1.01)


@dataclass(frozen=True)
class Plan:
    """A sitting of training. Times are seconds since the epoch."""

    cache: Path
    text: Path
    until: float
    cool: float
    batch: int = 24
    matrix_rate: float = 2e-3
    other_rate: float = 1.5e-3
    ema: float = 0.998
    save_every: float = 180.0
    rank: int = 0
    world: int = 1
    meeting: str = ""
    start_from: str = "state.pt"
    shipped: Path | None = None
    """A transformer folder to begin with when the cache holds no state yet."""


def build(text_width: int) -> WanTransformer3DModel:
    """The untrained transformer (8 M parameters); its output starts at zero."""
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=4,
        attention_head_dim=64,
        in_channels=2 * CHANNELS + 4,
        out_channels=CHANNELS,
        text_dim=text_width,
        freq_dim=64,
        ffn_dim=768,
        num_layers=8,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
    )
    nn.init.zeros_(model.proj_out.weight)
    nn.init.zeros_(model.proj_out.bias)
    return model


def draw_sigma(count: int, generator: torch.Generator) -> Tensor:
    """Logit-normal noise levels [count], shifted as in sampling."""
    level = torch.sigmoid(torch.randn(count, generator=generator) + NOISY)
    return SHIFT * level / (1.0 + (SHIFT - 1.0) * level)


def loss_of(
    model: nn.Module, prior: TokenPrior, batch: Batch, sigma: Tensor, noise: Tensor
) -> Tensor:
    """Weighted squared error by row [B], over the latents that are not wholly given."""
    level = sigma.reshape(-1, 1, 1, 1, 1)
    noisy = (1.0 - level) * batch.clean + level * noise
    inputs = prior.prepare(noisy, batch.mask, batch.condition, sigma)
    with torch.autocast("cpu", torch.bfloat16):
        named = model(inputs, 1000.0 * sigma, batch.text, return_dict=False)[0]
    target, weight = prior.target(batch.clean, sigma)
    error = (weight * (to_tokens(named.float()) - target).square()).mean(-1)
    patch = batch.mask.shape[-1] // error.shape[-1]
    wanted = 1.0 - batch.mask.amin(1)[:, :, ::patch, ::patch]
    return (error * wanted).sum((1, 2, 3)) / wanted.sum((1, 2, 3)).clamp(min=1.0)


class _Optimisers:
    """Muon for the matrices of the blocks, AdamW for everything else."""

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, weight in model.named_parameters():
            hidden = name.startswith("blocks.") and weight.ndim == 2
            (matrices if hidden else others).append(weight)
        muon = torch.optim.Muon(
            matrices, lr=plan.matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        adam = torch.optim.AdamW(
            others, lr=plan.other_rate, betas=(0.9, 0.98), weight_decay=0.0, foreach=True
        )
        self._pairs = ((muon, plan.matrix_rate), (adam, plan.other_rate))

    def step(self, factor: float) -> None:
        for optimiser, rate in self._pairs:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.step()

    def state(self) -> list[dict]:
        return [optimiser.state_dict() for optimiser, _ in self._pairs]

    def restore(self, states: list[dict]) -> None:
        for (optimiser, _), state in zip(self._pairs, states, strict=True):
            optimiser.load_state_dict(state)


class _Log:
    """Mean loss by noise level since the last line."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._sums = torch.zeros(len(BUCKETS), 2)
        self._began = time.monotonic()

    def add(self, losses: Tensor, sigma: Tensor) -> None:
        for loss, level in zip(losses.tolist(), sigma.tolist(), strict=True):
            bucket = next(i for i, top in enumerate(BUCKETS) if level < top)
            self._sums[bucket] += torch.tensor([loss, 1.0])

    def write(self, step: int, steps: int, factor: float) -> None:
        means = (self._sums[:, 0] / self._sums[:, 1].clamp(min=1)).tolist()
        total = float(self._sums[:, 0].sum() / self._sums[:, 1].sum())
        pace = (time.monotonic() - self._began) / steps
        by_level = " ".join(f"<{b:.2f}:{m:.3f}" for b, m in zip(BUCKETS, means, strict=True))
        _log.info("step %d loss %.4f %s rate %.2f %.2fs", step, total, by_level, factor, pace)
        self._clear()


def train_transformer(plan: Plan) -> None:
    """Train until `plan.until`; the state and EMA weights lie in the cache folder."""
    torch.set_num_threads(1)
    torch.backends.cuda.enable_flash_sdp(False)  # the plain kernel is faster on small clips
    torch.manual_seed(1)
    if plan.world > 1:
        dist.init_process_group(
            "gloo", init_method=plan.meeting, rank=plan.rank, world_size=plan.world
        )
    rows, encoder = Rows(plan.cache / "rows"), TextEncoder(plan.text)
    prior = _prior(plan, rows)
    model = build(encoder.width)
    average = [p.detach().clone() for p in model.parameters()]
    optimisers = _Optimisers(model, plan)
    step = _resume(plan, model, average, optimisers)
    seed = 1000 * step + plan.rank
    batches = Batches(rows, encoder, plan.batch, seed)
    generator = torch.Generator().manual_seed(seed)
    log, saved, factor, kept = _Log(), time.monotonic(), 1.0, False
    while factor > 0.0:
        batch = batches.draw()
        sigma = draw_sigma(plan.batch, generator)
        noise = torch.randn(batch.clean.shape, generator=generator)
        losses = loss_of(model, prior, batch, sigma, noise)
        losses.mean().backward()
        factor = _share(model, _factor(plan, step), plan)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimisers.step(factor)
        model.zero_grad(set_to_none=True)
        step += 1
        decay = min(plan.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, list(model.parameters()), 1.0 - decay)
        log.add(losses.detach(), sigma)
        if step % 25 == 0:
            log.write(step, 25, factor)
        due = time.monotonic() - saved > plan.save_every or factor == 0.0
        if plan.rank == 0 and due:
            _save(plan, "state.pt", step, model, average, optimisers)
            saved = time.monotonic()
        if plan.rank == 0 and time.time() > plan.cool and not kept:
            kept = True
            _save(plan, "before_cooling.pt", step, model, average, optimisers)


def _factor(plan: Plan, step: int) -> float:
    """Part of the full learning rate at this moment; zero ends the training."""
    now = time.time()
    fall = (plan.until - now) / max(plan.until - plan.cool, 1.0)
    return max(min(1.0, (step + 1) / WARM_UP, fall), 0.0)


def _share(model: nn.Module, factor: float, plan: Plan) -> float:
    """Average the gradients over all processes in place; all get the first one's factor."""
    if plan.world == 1:
        return factor
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    own = torch.tensor([factor if plan.rank == 0 else 0.0])
    flat = torch.cat([g.flatten() for g in gradients] + [own])
    dist.all_reduce(flat)
    factor = float(flat[-1])
    flat /= plan.world
    at = 0
    for gradient in gradients:
        gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
        at += gradient.numel()
    return factor


def _prior(plan: Plan, rows: Rows, count: int = 4000) -> TokenPrior:
    """The prior of the rows on disk, fitted once."""
    folder = plan.cache / "prior"
    if not (folder / FILE_NAME).exists():
        generator = torch.Generator().manual_seed(0)
        picked = torch.randint(len(rows), (count,), generator=generator).tolist()
        clean = [torch.from_numpy(rows.row(i)[0][:, :WINDOW].astype("float32")) for i in picked]
        folder.mkdir(parents=True, exist_ok=True)
        TokenPrior.fit(torch.stack(clean)).save(folder)
    return TokenPrior.load(folder)


def _save(
    plan: Plan,
    name: str,
    step: int,
    model: nn.Module,
    average: list[Tensor],
    optimisers: _Optimisers,
) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "average": average,
        "optimisers": optimisers.state(),
    }
    draft = plan.cache / f".{name}"
    torch.save(state, draft)
    draft.rename(plan.cache / name)


def _resume(plan: Plan, model: nn.Module, average: list[Tensor], optimisers: _Optimisers) -> int:
    path = plan.cache / plan.start_from
    if not path.exists():
        if plan.shipped is not None:
            ready = WanTransformer3DModel.from_pretrained(plan.shipped, torch_dtype=torch.float32)
            model.load_state_dict(ready.state_dict())
            torch._foreach_copy_(average, [p.detach() for p in model.parameters()])
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    for mine, theirs in zip(average, state["average"], strict=True):
        mine.copy_(theirs)
    optimisers.restore(state["optimisers"])
    return int(state["step"])
