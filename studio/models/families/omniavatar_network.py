"""OmniAvatar's transformer: Wan 2.1 T2V with 33 channels and sound before early blocks.

B batch, T latent frames, H/W latent rows and columns, F features of one audio frame.
Source: OmniAvatar (arXiv 2506.18866) and its published weights; see the model's licence.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor, nn

AUDIO_FEATURES = 14 * 768
GROUP = 4
FIRST_AUDIO_BLOCK = 2


class Sinusoid(nn.Module):
    """The time step's sines in float64, as the network was trained: cosines first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, timestep: Tensor) -> Tensor:
        """[B] -> [B, width] in float32."""
        half = self.width // 2
        exponents = torch.arange(half, dtype=torch.float64, device=timestep.device) / half
        angles = torch.outer(timestep.double(), 10_000.0**-exponents)
        return torch.cat([angles.cos(), angles.sin()], dim=1).float()


class AudioPack(nn.Module):
    """Four audio frames become one vector for a latent frame; the first fills its own group."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(features * GROUP, width)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, audio: Tensor) -> Tensor:
        """[B, 4T-3, F] -> [B, T, width]; features of a group lie frame after frame."""
        filled: Any = torch.cat([audio[:, :1].expand(-1, GROUP - 1, -1), audio], dim=1)
        packed: Tensor = self.norm_out(self.proj(filled.unflatten(1, (-1, GROUP)).flatten(2)))
        return packed


def audio_blocks(num_layers: int) -> range:
    """The blocks before which sound is added: 2 to half of all, that one included."""
    return range(FIRST_AUDIO_BLOCK, num_layers // 2 + 1)


class OmniAvatarTransformer(WanTransformer3DModel):
    """Wan's transformer with an Audio Pack shared by one projection for each early block.

    The input is [noisy 16 | reference latent 16 | mask 1] with 0 = given, 1 = to make.
    """

    def __init__(
        self, *, audio_features: int = AUDIO_FEATURES, audio_width: int = 32, **base: Any
    ) -> None:
        super().__init__(**{"in_channels": 33, **base})
        config: Any = self.config
        embedder: Any = self.condition_embedder
        embedder.timesteps_proj = Sinusoid(config.freq_dim)
        dim = config.num_attention_heads * config.attention_head_dim
        self._injected = audio_blocks(config.num_layers)
        self.audio_features = audio_features
        self.audio_proj = AudioPack(audio_features, audio_width)
        self.audio_cond_projs = nn.ModuleList(nn.Linear(audio_width, dim) for _ in self._injected)

    def audio_residuals(self, audio: Tensor) -> dict[int, Tensor]:
        """What is added before each block, [B, T, 1, dim], by block index."""
        packed = self.audio_proj(audio)
        return {
            index: proj(packed).unsqueeze(2)
            for index, proj in zip(self._injected, self.audio_cond_projs, strict=True)
        }

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        audio_embeds: Tensor | None = None,
    ) -> Tensor:
        """The velocity [B, 16, T, H, W] for the input [B, 33, T, H, W], H and W even.

        `timestep` [B] counts 0 to 1000; `audio_embeds` [B, 4T-3, F]; none means zeros, which is
        what guidance calls "without sound" (it is not the same as leaving the residuals out).
        """
        batch, _, frames, height, width = hidden_states.shape
        if audio_embeds is None:
            audio_embeds = hidden_states.new_zeros(
                batch, GROUP * frames - GROUP + 1, self.audio_features
            )
        residuals = self.audio_residuals(audio_embeds)
        rotary = self.rope(hidden_states)
        tokens = self.patch_embedding(hidden_states).flatten(2).transpose(1, 2).contiguous()
        temb, modulation, text, _ = self.condition_embedder(timestep, encoder_hidden_states, None)
        modulation = modulation.unflatten(1, (6, -1))
        for index, block in enumerate(self.blocks):
            if index in residuals:
                by_frame = tokens.unflatten(1, (frames, -1)) + residuals[index]
                tokens = by_frame.flatten(1, 2)
            tokens = block(tokens, text, modulation, rotary)
        return self._to_latents(tokens, temb, (frames, height // 2, width // 2))

    def _to_latents(self, tokens: Tensor, temb: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Tokens of the last block -> [B, C, T, H, W]."""
        shift, scale = (self.scale_shift_table + temb.unsqueeze(1)).chunk(2, dim=1)
        normed = self.norm_out(tokens.float()) * (1 + scale) + shift
        patches = self.proj_out(normed.type_as(tokens))
        # rows of a patch are (row, column, channel) with patch size (1, 2, 2)
        pixels = patches.unflatten(1, grid).unflatten(-1, (2, 2, -1))
        latents: Tensor = pixels.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)
        return latents
