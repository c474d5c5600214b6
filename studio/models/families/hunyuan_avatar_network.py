"""HunyuanVideo-Avatar's transformer: HunyuanVideo with portrait, sound on the face, motion.

B batch, T latent frames, h/w token rows and columns (half the latent ones), D hidden width.
Source: HunyuanVideo-Avatar (arXiv 2505.20156) and its published weights; see the model's licence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import Timesteps, get_1d_rotary_pos_embed
from diffusers.models.transformers.transformer_hunyuan_video import (
    HunyuanVideoPatchEmbed,
    HunyuanVideoTransformer3DModel,
)
from torch import Tensor, nn

AUDIO_SHAPE = (10, 5, 384)
GROUP = 4
TOKENS_A_FRAME = 4
ADAPTERS = 10


class NumberEmbedder(nn.Module):
    """A number as a vector: sines, then two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sines = Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, numbers: Tensor) -> Tensor:
        """[B] -> [B, width]."""
        vector: Tensor = self.mlp(self.sines(numbers.float()).to(self.mlp[0].weight.dtype))
        return vector


class AudioProjector(nn.Module):
    """Whisper's states around one video frame become four tokens."""

    def __init__(self, dim: int, middle: int = 1024) -> None:
        super().__init__()
        self.proj1 = nn.Linear(AUDIO_SHAPE[0] * AUDIO_SHAPE[1] * AUDIO_SHAPE[2], middle)
        self.proj2 = nn.Linear(middle, middle)
        self.proj3 = nn.Linear(middle, TOKENS_A_FRAME * dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, audio: Tensor) -> Tensor:
        """[B, 4T-3, 10, 5, 384] -> [B, T, 16, D]: the first frame stands for a whole group."""
        hidden = F.relu(self.proj2(F.relu(self.proj1(audio.flatten(2)))))
        tokens = self.norm(self.proj3(hidden).unflatten(-1, (TOKENS_A_FRAME, -1)))
        filled: Any = torch.cat([tokens[:, :1].expand(-1, GROUP - 1, -1, -1), tokens], dim=1)
        grouped: Tensor = filled.unflatten(1, (-1, GROUP)).flatten(2, 3)
        return grouped


class FaceAdapter(nn.Module):
    """Video tokens of a latent frame look at the sound of that frame: one head, a third as wide."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        width = dim // 3
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, width, bias=False)
        self.to_kv = nn.Linear(dim, 2 * width, bias=False)
        self.to_out = nn.Linear(width, dim, bias=False)

    def forward(self, audio: Tensor, video: Tensor) -> Tensor:
        """What to add to `video` [B, T, hw, D] for `audio` [B, T, 16, D]."""
        query = self.to_q(self.norm2(video))
        key, value = self.to_kv(self.norm1(audio)).chunk(2, dim=-1)
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        weights = scores.float().softmax(dim=-1).to(value.dtype)
        delta: Tensor = self.to_out(weights @ value)
        return delta


@dataclass(frozen=True)
class AvatarInputs:
    """Everything but the noisy latents and the time step; all have the same batch."""

    ref_latents: Tensor
    """[B, 16, T, H, W]: the portrait, encoded as a clip."""
    text: Tensor
    """[B, L, text width], image tokens included."""
    text_mask: Tensor
    """[B, L]: its sum is how many text tokens count; its places matter to the refiner only."""
    pooled: Tensor
    audio: Tensor
    """[B, 4T-3, 10, 5, 384]."""
    face_mask: Tensor
    """[B, 1, 1 or T, H, W]: how much the sound moves each place (and, with T, each moment)."""
    motion_exp: Tensor
    motion_pose: Tensor
    fps: Tensor


@dataclass(frozen=True)
class Features:
    """What enters the last single block."""

    ref: Tensor
    """[B, hw, D]."""
    video: Tensor
    """[B, T, hw, D]."""
    text: Tensor
    """[B, L, D]."""


def rotary(
    grid: tuple[int, int, int], axes: tuple[int, ...], theta: float
) -> tuple[Tensor, Tensor]:
    """Cosines and sines for the reference at time -1 followed by frames 0 to T-1."""
    frames, rows, columns = grid
    times = torch.arange(-1, frames, dtype=torch.float32)
    positions: Any = torch.meshgrid(
        times, torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij"
    )
    parts = [
        get_1d_rotary_pos_embed(dim, where.reshape(-1), theta, use_real=True)
        for dim, where in zip(axes, positions, strict=True)
    ]
    return torch.cat([p[0] for p in parts], dim=1), torch.cat([p[1] for p in parts], dim=1)


class HunyuanAvatarTransformer(HunyuanVideoTransformer3DModel):
    """HunyuanVideo's blocks, the portrait's tokens in front, sound after every second."""

    def __init__(self, *, adapters: int = ADAPTERS, **base: Any) -> None:
        super().__init__(**{"guidance_embeds": False, **base})
        config: Any = self.config
        self._axes, self._theta = tuple(config.rope_axes_dim), float(config.rope_theta)
        self._patch = int(config.patch_size)
        dim = config.num_attention_heads * config.attention_head_dim
        patch = (config.patch_size_t, config.patch_size, config.patch_size)
        self.ref_in = HunyuanVideoPatchEmbed(patch, config.in_channels, dim)
        self.before_proj = nn.Linear(dim, dim)
        self.audio_proj = AudioProjector(dim)
        self.audio_adapter_blocks = nn.ModuleList(FaceAdapter(dim) for _ in range(adapters))
        self.motion_exp = NumberEmbedder(dim // 4)
        self.motion_pose = NumberEmbedder(dim // 4)
        self.fps_proj = NumberEmbedder(dim)

    def forward(self, hidden_states: Tensor, timestep: Tensor, inputs: AvatarInputs) -> Tensor:
        """The velocity [B, 16, T, H, W]; `timestep` [B] counts 0 to 1000."""
        return self.finish(self.features(hidden_states, timestep, inputs), timestep, inputs)

    def features(self, latents: Tensor, timestep: Tensor, inputs: AvatarInputs) -> Features:
        """Everything up to the last single block: nearly all of the work."""
        grid = self._grid(latents)
        frames, tokens = grid[0], grid[1] * grid[2]
        vector = self._vector(timestep, inputs)
        freqs = self._rotary(grid, latents)
        ref = self.x_embedder(inputs.ref_latents[:, :, :1])
        video = self.x_embedder(latents) + self.before_proj(self.ref_in(inputs.ref_latents))
        image: Any = torch.cat([ref, video], dim=1)
        text = self.context_embedder(inputs.text, timestep, inputs.text_mask)
        mask = self._attention_mask(image.shape[1], inputs.text_mask)
        audio = self.audio_proj(inputs.audio)
        face = self._face(inputs.face_mask, grid)
        for index, block in enumerate(self.transformer_blocks):
            image, text = block(image, text, vector, mask, freqs)
            if index % 2 == 1 and index // 2 < len(self.audio_adapter_blocks):
                video = image[:, tokens:].unflatten(1, (frames, tokens))
                delta = self.audio_adapter_blocks[index // 2](audio, video) * face
                image = torch.cat([image[:, :tokens], (video + delta).flatten(1, 2)], dim=1)
        for block in self.single_transformer_blocks[:-1]:
            image, text = block(image, text, vector, mask, freqs)
        video = image[:, tokens:].unflatten(1, (frames, tokens))
        return Features(ref=image[:, :tokens], video=video, text=text)

    def finish(self, features: Features, timestep: Tensor, inputs: AvatarInputs) -> Tensor:
        """The last single block and the way back to latents, at `timestep`."""
        grid = self._grid(inputs.ref_latents)
        image = torch.cat([features.ref, features.video.flatten(1, 2)], dim=1)
        vector = self._vector(timestep, inputs)
        image, _ = self.single_transformer_blocks[-1](
            image,
            features.text,
            vector,
            self._attention_mask(image.shape[1], inputs.text_mask),
            self._rotary(grid, image),
        )
        patches = self.proj_out(self.norm_out(image[:, features.ref.shape[1] :], vector))
        size = self._patch
        # elements of a patch are (channel, row, column)
        pixels = patches.unflatten(1, grid).unflatten(-1, (-1, size, size))
        latents: Tensor = pixels.permute(0, 4, 1, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)
        return latents

    def _grid(self, latents: Tensor) -> tuple[int, int, int]:
        size = self._patch
        return latents.shape[2], latents.shape[3] // size, latents.shape[4] // size

    def _rotary(self, grid: tuple[int, int, int], like: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = rotary(grid, self._axes, self._theta)
        return cos.to(like.device), sin.to(like.device)

    def _vector(self, timestep: Tensor, inputs: AvatarInputs) -> Tensor:
        """[B, D]: time, pooled text, expression, pose and frame rate in one."""
        vector, _ = self.time_text_embed(timestep, inputs.pooled)
        batch = timestep.shape[0]
        for embed, ids in (
            (self.motion_exp, inputs.motion_exp),
            (self.motion_pose, inputs.motion_pose),
        ):
            vector = vector + embed(ids.reshape(-1)).reshape(batch, -1)
        whole: Tensor = vector + self.fps_proj(inputs.fps)
        return whole

    @staticmethod
    def _attention_mask(image_tokens: int, text_mask: Tensor) -> Tensor:
        """[B, 1, 1, N]: all image tokens and as many text tokens as the mask has ones."""
        places = torch.arange(image_tokens + text_mask.shape[1], device=text_mask.device)
        return (places < image_tokens + text_mask.sum(1, keepdim=True))[:, None, None]

    @staticmethod
    def _face(mask: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """[B, T, hw, 1]."""
        return F.interpolate(mask, size=grid, mode="nearest")[:, 0].flatten(2).unsqueeze(-1)
