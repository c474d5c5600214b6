"""The pocket avatar's network: the frozen pocket transformer, low-rank changes to its matrices
(as OmniAvatar has) and, after each block, what the sound adds inside the speakers' faces.

Shapes: T latent frames of a window, of which the first is the portrait; audio [B,S,T,4,10,D]: for
S speakers and 4 video frames a latent frame, ten states of the ear; masks [B,S,h,w] over tokens.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FRAMES = 4
SPAN = 10
CHANGED = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")


class SoundEmbedding(nn.Module):
    """The states around each video frame, then those of a latent frame, as one vector."""

    def __init__(self, ear_width: int, width: int) -> None:
        super().__init__()
        self.frame = nn.Linear(SPAN * ear_width, width // FRAMES)
        self.latent = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, audio: Tensor) -> Tensor:
        """[B,S,T,width] of [B,S,T,4,10,D]."""
        frames = F.silu(self.frame(audio.flatten(4)))
        return self.norm(self.latent(frames.flatten(3)))


class SoundLayer(nn.Module):
    """What the sound adds to a hidden state that it has looked at."""

    def __init__(self, dim: int, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.down = nn.Linear(dim, inner)
        self.sound = nn.Linear(width, 2 * inner)
        self.up = nn.Linear(inner, dim, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, hidden: Tensor, sound: Tensor) -> Tensor:
        """[B,S,T,n,dim] to add, for hidden [B,T,n,dim] and sound [B,S,T,width]."""
        scale, shift = self.sound(sound)[:, :, :, None].chunk(2, dim=-1)
        seen = self.down(self.norm(hidden))[:, None]
        added: Tensor = self.up(F.silu(seen * (1.0 + scale) + shift))
        return added


class LowRank(nn.Module):
    """A frozen linear layer with a low-rank change beside it."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.a = nn.Linear(base.in_features, rank, bias=False)
        self.b = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.b.weight)

    @property
    def weight(self) -> Tensor:
        """The frozen weights (others ask them for their dtype)."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output with the change."""
        changed: Tensor = self.base(x) + self.b(self.a(x))
        return changed


class AvatarAdapter(nn.Module):
    """All that is trained; put into a transformer by `fit_into`."""

    def __init__(
        self, dim: int, blocks: int, *, ear_width: int, width: int, inner: int, rank: int
    ) -> None:
        super().__init__()
        self.settings = {
            "dim": dim,
            "blocks": blocks,
            "ear_width": ear_width,
            "width": width,
            "inner": inner,
            "rank": rank,
        }
        self.sound = SoundEmbedding(ear_width, width)
        self.layers = nn.ModuleList(SoundLayer(dim, width, inner) for _ in range(blocks))
        self.low_rank = nn.ModuleDict()


class AvatarTransformer(nn.Module):
    """A WanTransformer3DModel that hears: call it as that, with `audio` and `masks` besides."""

    def __init__(self, base: Any, adapter: AvatarAdapter) -> None:
        super().__init__()
        self.base = base
        self.adapter = adapter
        self.patch = tuple(base.config.patch_size)
        self._heard: tuple[Tensor, Tensor] | None = None
        base.requires_grad_(False)
        rank = adapter.settings["rank"]
        fit_into(base, adapter, rank)
        for index, block in enumerate(base.blocks):
            block.register_forward_hook(self._after(index))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.base.patch_embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """In which numbers it computes."""
        return self.base.patch_embedding.weight.dtype

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        text: Tensor,
        audio: Tensor,
        masks: Tensor,
    ) -> Tensor:
        """The base's output [B,C,T,h,w]; masks [B,S,h,w] at the latents' resolution."""
        tokens = token_masks(masks, self.patch[1])
        self._heard = (self.adapter.sound(audio), tokens)
        try:
            named: Tensor = self.base(hidden_states, timestep, text, return_dict=False)[0]
        finally:
            self._heard = None
        return named

    def _after(self, index: int) -> Any:
        def add(_block: Any, _inputs: Any, output: Tensor) -> Tensor:
            if self._heard is None:
                return output
            sound, masks = self._heard
            batch, frames = len(output), sound.shape[2]
            hidden = output.reshape(batch, frames, -1, output.shape[-1])
            added = self.adapter.layers[index](hidden, sound)
            inside = masks.flatten(2)[:, :, None, :, None].to(added)
            return output + (added * inside).sum(dim=1).reshape(output.shape)

        return add


def fit_into(base: Any, adapter: AvatarAdapter, rank: int) -> None:
    """Put low-rank changes beside the matrices of every block; the adapter owns them."""
    for number, block in enumerate(base.blocks):
        for path, layer in list(block.named_modules()):
            if "attn2" in path or not isinstance(layer, nn.Linear) or not path.endswith(CHANGED):
                continue
            changed = LowRank(layer, rank)
            parent, _, name = path.rpartition(".")
            owner = block.get_submodule(parent)
            if name.isdigit():
                owner[int(name)] = changed
            else:
                setattr(owner, name, changed)
            key = f"{number}-{path}".replace(".", "-")
            adapter.low_rank[key] = nn.ModuleDict({"a": changed.a, "b": changed.b})


def token_masks(masks: Tensor, patch: int) -> Tensor:
    """[B,S,h,w] of latents to tokens; where two speakers meet, the greater share has it."""
    shares = F.avg_pool2d(masks.float(), patch)
    mine = shares == shares.amax(dim=1, keepdim=True)
    return ((shares > 0.1) & mine).to(masks)


def latent_frames_audio(rows: Tensor, frames: list[int]) -> Tensor:
    """[len(frames),4,10,D] for latent frames: 4p-3 to 4p, of the first latent its one frame.

    rows [F,10,D] are a clip's states; before it and after its end the nearest count.
    """
    index = torch.tensor(
        [[0] * FRAMES if p == 0 else list(range(4 * p - 3, 4 * p + 1)) for p in frames]
    )
    return rows[index.clamp(0, len(rows) - 1)]
