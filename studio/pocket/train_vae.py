"""Training of the pocket autoencoder on the fixed linear code of `latents`.

The decoder learns (latents + a little noise) -> pixels, the encoder learns pixels -> latents;
neither needs the other. Crops of 64 x 64 pixels aligned to the code's blocks are enough, since
the network is convolutional. The length of a sitting is given in seconds and can be resumed.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from studio.pocket.latents import BLOCK, PixelCode
from studio.pocket.train_vae_clip import (
    build_vae,
    decode_clip,
    enable_whole_clips,
    encode_clip,
    quiet_variance,
)

_log = logging.getLogger(__name__)

CROP = 64
NOISE = 0.03
PEOPLE = 0.3
SAVE_EVERY = 120.0


@dataclass(frozen=True)
class VaeTraining:
    """A sitting: `part` is decoder or encoder; `until` is in seconds since the epoch."""

    cache: Path
    part: str
    until: float
    rate: float = 2e-3
    seed: int = 0
    shipped: Path | None = None
    """A VAE folder to begin with when the cache holds no checkpoint yet."""


class Pool:
    """Rendered clips on disk, uint8 [N,25,128,128,3] per file, and random crops of them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._files = {
            kind: [np.load(p, mmap_mode="r") for p in sorted(folder.glob(f"{kind}*.npy"))]
            for kind in ("scenes", "people")
        }
        self._rng = np.random.default_rng(seed)

    def crops(self, count: int, frames: int) -> np.ndarray:
        """uint8 [count,frames,64,64,3]; crops in which something is seen are preferred."""
        return np.stack([self._crop(frames) for _ in range(count)])

    def _crop(self, frames: int) -> np.ndarray:
        rng = self._rng
        files = self._files["people" if rng.random() < PEOPLE else "scenes"]
        clips = files[int(rng.integers(len(files)))]
        clip = clips[int(rng.integers(len(clips)))]
        start = int(rng.integers(clip.shape[0] - frames + 1))
        part = clip[start : start + frames]
        best, spread = part, -1.0
        for _ in range(3 if rng.random() < 0.7 else 1):
            top, left = (BLOCK * int(rng.integers((128 - CROP) // BLOCK + 1)) for _ in range(2))
            crop = part[:, top : top + CROP, left : left + CROP]
            edges = float(np.abs(np.diff(crop[0].astype(np.int16), axis=1)).mean())
            if edges > spread:
                best, spread = crop, edges
        if rng.random() < 0.5:
            best = best[:, :, ::-1]
        if rng.random() < 0.3:
            best = best[::-1]
        return np.ascontiguousarray(best)


class Muon:
    """Orthogonalised momentum for the convolutions' weights, seen as matrices."""

    def __init__(self, weights: list[nn.Parameter], momentum: float = 0.95) -> None:
        self.weights, self.momentum = weights, momentum
        self.buffers = [torch.zeros_like(w) for w in weights]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step of root-mean-square length 0.2 `rate` per weight, as AdamW's are."""
        for weight, buffer in zip(self.weights, self.buffers, strict=True):
            if weight.grad is None:
                continue
            buffer.mul_(self.momentum).add_(weight.grad)
            matrix = (weight.grad + self.momentum * buffer).flatten(1)
            length = 0.2 * max(matrix.shape) ** 0.5
            weight.add_(_orthogonal(matrix).view_as(weight), alpha=-rate * length)


def _orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """About the nearest matrix with singular values one, by Newton and Schulz."""
    x = matrix.bfloat16()
    turned = x.shape[0] > x.shape[1]
    x = x.T if turned else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return (x.T if turned else x).to(matrix.dtype)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal to noise ratio of two uint8 arrays, in dB."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 10.0 * float(np.log10(255.0**2 / max(error, 1e-9)))


def to_pixels(frames: np.ndarray) -> Tensor:
    """uint8 [...,T,H,W,3] to float [...,3,T,H,W] in -1..1."""
    return torch.from_numpy(frames).movedim(-1, -4).float() / 127.5 - 1.0


def to_frames(pixels: Tensor) -> np.ndarray:
    """Float [...,3,T,H,W] in -1..1 to uint8 [...,T,H,W,3]."""
    scaled = ((pixels.float() + 1.0) * 127.5 + 0.5).clamp(0, 255)
    return scaled.movedim(-4, -1).to(torch.uint8).numpy()


def picture_loss(made: Tensor, true: Tensor) -> Tensor:
    """L1 + L2 + gradients + frame differences; edges count more. Both [B,3,T,H,W]."""
    error = made - true
    down, right = true.diff(dim=-2).abs(), true.diff(dim=-1).abs()
    weight = torch.ones_like(true)
    weight[..., 1:, :] += (4.0 * down).clamp(max=1.5)
    weight[..., 1:] += (4.0 * right).clamp(max=1.5)
    loss = (weight * (error.abs() + 2.0 * error.square())).mean()
    loss = loss + 0.5 * (error.diff(dim=-2).abs().mean() + error.diff(dim=-1).abs().mean())
    if error.shape[2] > 1:
        loss = loss + 0.5 * error.diff(dim=2).abs().mean()
    return loss


def codes(code: PixelCode, crops: np.ndarray) -> Tensor:
    """The linear code of uint8 crops [B,T,H,W,3]: [B,48,1+n,h,w]."""
    return torch.from_numpy(np.stack([code.encode(crop) for crop in crops]))


@torch.no_grad()
def measure(vae: AutoencoderKLWan, code: PixelCode, folder: Path, clips: int = 4) -> dict:
    """PSNR on clips kept from training: decoder alone, and encoder with decoder."""
    figures = {}
    for kind in ("scenes", "people"):
        frames = np.load(folder / f"unseen_{kind}.npy", mmap_mode="r")[:clips]
        alone, round_trip = [], []
        for clip in frames:
            latents = codes(code, np.asarray(clip)[None])
            pixels = to_pixels(np.asarray(clip)[None])
            with torch.autocast("cpu", torch.bfloat16):
                alone.append(psnr(to_frames(decode_clip(vae, latents)[0]), clip))
                coded = encode_clip(vae, pixels).float()
                round_trip.append(psnr(to_frames(decode_clip(vae, coded)[0]), clip))
        figures[kind] = round(float(np.mean(alone)), 2)
        figures[f"{kind} round trip"] = round(float(np.mean(round_trip)), 2)
    return figures


class _Trainer:
    """One part of the autoencoder, its optimisers and its checkpoint."""

    def __init__(self, plan: VaeTraining) -> None:
        self.plan = plan
        self.code = PixelCode.load(plan.cache / "pca.safetensors")
        self.scale = torch.from_numpy(self.code.scale).view(1, -1, 1, 1, 1)
        self.vae = enable_whole_clips(self._first())
        self.modules = [self.vae.decoder, self.vae.post_quant_conv]
        if plan.part == "encoder":
            self.modules = [self.vae.encoder, self.vae.quant_conv]
        weights = [p for m in self.modules for p in m.parameters()]
        matrices = [p for p in weights if p.ndim >= 4 and p.flatten(1).shape[1] >= 32]
        ids = {id(p) for p in matrices}
        self.muon = Muon(matrices)
        others = [p for p in weights if id(p) not in ids]
        self.adam = torch.optim.AdamW(others, lr=plan.rate, betas=(0.9, 0.99), weight_decay=0.0)
        self.average = [p.detach().clone() for p in weights]
        self.weights, self.step = weights, 0
        self.path = plan.cache / f"vae_{plan.part}.pt"
        if self.path.exists():
            self._restore(torch.load(self.path, weights_only=True))

    def _first(self) -> AutoencoderKLWan:
        if self.plan.shipped is None:
            return build_vae()
        return AutoencoderKLWan.from_pretrained(self.plan.shipped, torch_dtype=torch.float32)

    def loss(self, crops: np.ndarray) -> Tensor:
        """Loss on uint8 crops [B,T,64,64,3]."""
        latents, pixels = codes(self.code, crops), to_pixels(crops)
        if self.plan.part == "decoder":
            latents = latents + NOISE * torch.randn_like(latents)
            with torch.autocast("cpu", torch.bfloat16):
                made = decode_clip(self.vae, latents)
            return picture_loss(made.float(), pixels)
        with torch.autocast("cpu", torch.bfloat16):
            made = encode_clip(self.vae, pixels)
        error = made.float() - latents
        # in pixels an error weighs 1 / scale, which also keeps the small coordinates' details
        return (error / self.scale).square().mean() + error.abs().mean()

    def update(self, loss: Tensor, rate: float) -> None:
        """One step of both optimisers and of the running average."""
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.muon.step(rate)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        self.vae.zero_grad(set_to_none=True)
        self.step += 1
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights, 1 - min(0.99, self.step / 200))

    def save(self) -> None:
        """Write weights, average and optimisers."""
        state = {
            "step": self.step,
            "weights": [w.detach() for w in self.weights],
            "average": self.average,
            "muon": self.muon.buffers,
            "adam": self.adam.state_dict(),
        }
        draft = self.path.with_suffix(".draft")
        torch.save(state, draft)
        draft.rename(self.path)

    def _restore(self, state: dict) -> None:
        self.step = int(state["step"])
        self.adam.load_state_dict(state["adam"])
        with torch.no_grad():
            for mine, theirs in (
                (self.weights, state["weights"]),
                (self.average, state["average"]),
                (self.muon.buffers, state["muon"]),
            ):
                torch._foreach_copy_(mine, theirs)


def train_part(plan: VaeTraining) -> None:
    """Train one part until `plan.until`; the rate falls to zero over the last 60 percent."""
    torch.set_num_threads(1)
    torch.manual_seed(plan.seed)
    trainer = _Trainer(plan)
    pool = Pool(plan.cache / "vae_pool", plan.seed + trainer.step)
    began, saved, losses = time.time(), time.time(), []
    while (now := time.time()) < plan.until:
        done = (now - began) / (plan.until - began)
        rate = plan.rate * min(1.0, (trainer.step + 1) / 50, (1.0 - done) / 0.6 + 0.01)
        loss = trainer.loss(pool.crops(*_size(done, trainer.step)))
        trainer.update(loss, rate)
        losses.append(loss.item())
        if trainer.step % 50 == 0:
            _log.info("step %d loss %.4f rate %.5f", trainer.step, np.mean(losses), rate)
            losses = []
        if now - saved > SAVE_EVERY:
            trainer.save()
            saved = now
    trainer.save()


def _size(done: float, step: int) -> tuple[int, int]:
    """Crops and frames of a batch: single frames first, longer clips towards the end."""
    if done < 0.1:
        return 8, 1
    if done > 0.66:
        return ((2, 9), (4, 5), (1, 17), (8, 1))[step % 4]
    return (8, 1) if step % 5 == 0 else (4, 5)


def assemble(cache: Path) -> AutoencoderKLWan:
    """The autoencoder of the newest checkpoints, with averaged weights."""
    vae = enable_whole_clips(build_vae())
    parts = {
        "decoder": [vae.decoder, vae.post_quant_conv],
        "encoder": [vae.encoder, vae.quant_conv],
    }
    for part, modules in parts.items():
        path = cache / f"vae_{part}.pt"
        if path.exists():
            average = torch.load(path, weights_only=True)["average"]
            weights = [p for m in modules for p in m.parameters()]
            with torch.no_grad():
                torch._foreach_copy_(weights, average)
    return vae.eval()


def export_vae(cache: Path, folder: Path) -> AutoencoderKLWan:
    """Write `vae` (float16) and `scheduler` folders below `folder`."""
    vae = assemble(cache)
    quiet_variance(vae)
    draft = folder / ".vae"
    shutil.rmtree(draft, ignore_errors=True)
    vae.to(torch.float16).save_pretrained(draft)
    parts = load_file(cache / "pca.safetensors")
    save_file({k: v.astype(np.float16) for k, v in parts.items()}, draft / "linear.safetensors")
    shutil.rmtree(folder / "vae", ignore_errors=True)
    draft.rename(folder / "vae")
    UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    ).save_pretrained(folder / "scheduler")
    return vae


def render_pool(folder: Path, clips: int, seed: int = 5000, per_file: int = 100) -> None:
    """Draw the clips that the autoencoder trains on, and a few that are kept from it."""
    from studio.pocket.evaluate import unseen_clips

    folder.mkdir(parents=True, exist_ok=True)
    for kind, share in (("scenes", 0.7), ("people", 0.3)):
        np.save(folder.parent / f"unseen_{kind}.npy", np.stack(list(unseen_clips(kind, 8))))
        for number in range(max(int(clips * share) // per_file, 1)):
            path = folder / f"{kind}{number}.npy"
            if not path.exists():
                drawn = unseen_clips(kind, per_file, seed + number)
                np.save(path, np.stack(list(drawn)))
