"""Prompts to embeddings of a T5-type encoder, cleaned and cut as diffusers' Wan pipelines do."""

from __future__ import annotations

import hashlib
import html
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.models.component import ComponentSpec

if TYPE_CHECKING:
    import torch

    from studio.models.manager import ModelManager

log = logging.getLogger(__name__)


def clean(text: str) -> str:
    """`text` with broken Unicode and HTML entities mended and white space folded."""
    import ftfy
    import regex

    mended = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return str(regex.sub(r"\s+", " ", mended)).strip()


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer, an encoder, and how many tokens a prompt may have."""

    tokenizer: ComponentSpec
    encoder: ComponentSpec
    max_tokens: int

    def encode(self, models: ModelManager, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Embeddings [1, max_tokens, D] by text, zero behind the prompt's own tokens.

        The encoder is not even loaded if all are in the cache.
        """
        import torch

        found: dict[str, torch.Tensor] = {}
        for text in dict.fromkeys(texts):
            kept = self._read(models, text)
            if kept is not None:
                found[text] = kept
        absent = [text for text in dict.fromkeys(texts) if text not in found]
        if absent:
            with models.use(self.tokenizer) as tokenizer, models.use(self.encoder) as encoder:
                for text in absent:
                    with torch.no_grad():
                        found[text] = self._embed(tokenizer, encoder, clean(text))
                    self._write(models, text, found[text])
        return {text: self._pad(value) for text, value in found.items()}

    def _embed(self, tokenizer: Any, encoder: Any, text: str) -> torch.Tensor:
        """[L, D] of the prompt's own tokens."""
        tokens = tokenizer(
            [text],
            padding="max_length",
            max_length=self.max_tokens,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        mask = tokens.attention_mask
        device = next(encoder.parameters()).device
        hidden = encoder(tokens.input_ids.to(device), mask.to(device)).last_hidden_state
        kept: torch.Tensor = hidden[0, : int(mask.gt(0).sum())].contiguous()
        return kept

    def _pad(self, embeds: torch.Tensor) -> torch.Tensor:
        import torch

        short = self.max_tokens - embeds.shape[0]
        return torch.cat([embeds, embeds.new_zeros(short, embeds.shape[1])]).unsqueeze(0)

    def _path(self, models: ModelManager, text: str) -> Path | None:
        if models.cache_dir is None:
            return None
        parts = (self.encoder.key, self.tokenizer.key, models.device_name, str(self.max_tokens))
        name = hashlib.sha256("\0".join((*parts, text)).encode()).hexdigest()[:40]
        return models.cache_dir / "prompts" / f"{name}.safetensors"

    def _read(self, models: ModelManager, text: str) -> torch.Tensor | None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self._path(models, text)
        if path is None or not path.is_file():
            return None
        try:
            return load_file(path, device=models.device_name)["embeds"]
        except (SafetensorError, OSError, KeyError) as error:
            log.warning("the cached prompt %s is damaged (%s) and is made again", path.name, error)
            return None

    def _write(self, models: ModelManager, text: str, embeds: torch.Tensor) -> None:
        """Keep the embeddings; a cache that cannot be written costs time, not the clip."""
        from safetensors.torch import save

        path = self._path(models, text)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                file.write(save({"embeds": embeds.cpu()}))
            Path(file.name).replace(path)
        except OSError as error:
            log.warning("prompt embeddings cannot be kept in %s (%s)", path.parent, error)
