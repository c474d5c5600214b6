"""Prompts that have seen the portrait: LLaVA's states, image tokens inside, CLIP's summary.

L text tokens after the template; the image stands as one token in what is tokenised and as 576 in
what the language model reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from studio.core.errors import RequestError
from studio.models.families.hunyuan_avatar_denoise import AvatarText

if TYPE_CHECKING:
    from studio.models.family import Frames

PREFIX = "Authentic, Realistic, Natural, High-quality, Lens-Fixed, "
LOOKS_LIKE = "\nThe person looks like<image>"
TEXT_TOKENS = 256
SKIPPED_LAYERS = 2
IMAGE_SIDE = 336
CLIP_TOKENS = 77
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def template() -> tuple[str, int]:
    """HunyuanVideo's video template and how many of its tokens come before the prompt."""
    from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE

    layout: dict[str, Any] = dict(DEFAULT_PROMPT_TEMPLATE)
    return str(layout["template"]), int(layout["crop_start"])


def tokenise(
    tokenizer: Any, prompt: str, image_token: int, layout: tuple[str, int]
) -> tuple[Tensor, Tensor]:
    """(ids, mask) [1, crop + 256]: template, prompt, then one token for the portrait.

    Raises:
        RequestError: if the prompt is so long that the portrait's token is cut off.
    """
    text, crop = layout
    tokens = tokenizer(
        [text.format(prompt) + LOOKS_LIKE],
        padding="max_length",
        max_length=crop + TEXT_TOKENS,
        truncation=True,
        return_tensors="pt",
    )
    ids: Tensor = tokens.input_ids
    if int((ids == image_token).sum()) != 1:
        raise RequestError(
            "a prompt for HunyuanVideo-Avatar has about 200 words at most, or the portrait is cut "
            f"off its end (got {len(prompt.split())} words); shorten it"
        )
    return ids, tokens.attention_mask


def expand_image(ids: Tensor, mask: Tensor, image_token: int, count: int) -> tuple[Tensor, Tensor]:
    """The same with `count` tokens for the portrait, and the mask that truly belongs to it."""
    at = int((ids[0] == image_token).nonzero()[0])
    image = ids.new_full((1, count), image_token)
    seen = mask.new_ones((1, count))
    return (
        torch.cat([ids[:, :at], image, ids[:, at + 1 :]], dim=1),
        torch.cat([mask[:, :at], seen, mask[:, at + 1 :]], dim=1),
    )


def published_mask(mask: Tensor, count: int, crop: int) -> Tensor:
    """The mask that the transformer was trained with: the image's ones stand at the end.

    Its sum is right; only the token refiner looks at the places.
    """
    return torch.cat([mask, mask.new_ones((1, count - 1))], dim=1)[:, crop:]


def portrait_pixels(portrait: Frames) -> Tensor:
    """[1, 3, 336, 336] for the language model's eye: stretched, not cropped."""
    from PIL import Image

    small = Image.fromarray(portrait).resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(small, dtype=np.float32) / 255.0)
    normal = (pixels - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    return normal.permute(2, 0, 1).unsqueeze(0)


@torch.no_grad()
def see_and_read(
    model: Any, ids: Tensor, mask: Tensor, pixels: Tensor, crop: int
) -> tuple[Tensor, Tensor]:
    """(states [1, L, D], mask [1, L]) of a LLaVA model, the template's head cut off."""
    image_token = int(model.config.image_token_id)
    vision = model.config.vision_config
    count = (vision.image_size // vision.patch_size) ** 2
    wide, true_mask = expand_image(ids, mask, image_token, count)
    like = next(model.parameters())
    out = model(
        input_ids=wide.to(like.device),
        attention_mask=true_mask.to(like.device),
        pixel_values=pixels.to(like),
        output_hidden_states=True,
        use_cache=False,
        logits_to_keep=1,
    )
    states: Tensor = out.hidden_states[-(SKIPPED_LAYERS + 1)][:, crop:]
    return states, published_mask(mask, count, crop)


@torch.no_grad()
def summarise(tokenizer: Any, model: Any, prompt: str) -> Tensor:
    """CLIP's pooled output [1, width]: text only."""
    tokens = tokenizer(
        [prompt],
        padding="max_length",
        max_length=CLIP_TOKENS,
        truncation=True,
        return_tensors="pt",
    )
    device = next(model.parameters()).device
    pooled: Tensor = model(tokens.input_ids.to(device)).pooler_output
    return pooled


def avatar_text(states: Tensor, mask: Tensor, pooled: Tensor) -> AvatarText:
    """The three on the CPU, in float32."""
    return AvatarText(states.float().cpu(), mask.cpu(), pooled.float().cpu())
