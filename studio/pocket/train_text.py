"""Training of the pocket text encoder: a small T5 that reads out the slots of a caption.

Every token's hidden state and their mean must each name every slot through one linear layer, so
that the transformer, which cross-attends to the tokens, finds the whole meaning in any of them.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from studio.pocket import captions
from studio.pocket import vocabulary as world
from studio.pocket.captions import SLOTS, Slots
from studio.pocket.vocabulary import Person, Scene

_log = logging.getLogger(__name__)

MAX_TOKENS = 128
VOCABULARY = 2048
WIDTH = 128
_PAD, _END, _UNKNOWN = "<pad>", "</s>", "<unk>"


@dataclass(frozen=True)
class TextTraining:
    """Where and for how long to train."""

    folder: Path
    minutes: float = 12.0
    steps: int = 6000
    batch: int = 96
    peak: float = 2e-3
    seed: int = 0


def random_scene(rng: random.Random, unseen: bool = False) -> Scene:
    """A scene; with `unseen` one of the held-out combinations, else never one of them."""
    while True:
        scene = Scene(
            rng.choice(world.SIZES),
            rng.choice(world.SHAPES),
            rng.choice(world.COLOURS),
            rng.choice(world.MOTIONS),
            rng.choice(world.PLACES),
            rng.choice(world.LIGHTS),
            rng.choice(world.CAMERAS),
        )
        if world.valid(scene) and captions.held_out(scene) == unseen:
            return scene


def random_person(rng: random.Random) -> Person:
    """A person with any attributes."""
    return Person(
        rng.choice(world.SKINS),
        rng.choice(world.HAIR_STYLES),
        rng.choice(world.HAIR_COLOURS),
        rng.choice(world.CLOTHES),
        rng.choice(world.EYES),
        rng.choice(world.BACKGROUNDS),
    )


def draw(rng: random.Random, reserved: bool = False) -> tuple[str, Slots]:
    """A caption and its slots: mostly scenes, some people, a few texts about neither."""
    kind = rng.random()
    if kind < 0.02 and not reserved:
        return captions.nothing(rng)
    if kind < 0.7:
        return captions.describe(random_scene(rng, unseen=reserved), rng, reserved)
    people = [random_person(rng) for _ in range(1 if kind < 0.85 else 2)]
    return captions.describe(people, rng, reserved)


def train_tokenizer(seed: int = 0, texts: int = 20000) -> PreTrainedTokenizerFast:
    """A lower-casing BPE tokenizer that reads any text (bytes below the known pieces)."""
    rng = random.Random(seed)
    tokenizer = Tokenizer(models.BPE(unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[_PAD, _END, _UNKNOWN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=8,
    )
    tokenizer.train_from_iterator((draw(rng)[0] for _ in range(texts)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", special_tokens=[(_END, tokenizer.token_to_id(_END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        eos_token=_END,
        unk_token=_UNKNOWN,
        model_max_length=512,
        padding_side="right",
    )


def build_encoder(pieces: int) -> T5EncoderModel:
    """The untrained encoder (about 0.8 M parameters)."""
    config = T5Config(
        vocab_size=pieces,
        d_model=WIDTH,
        d_kv=32,
        d_ff=256,
        num_layers=3,
        num_heads=4,
        relative_attention_num_buckets=32,
        relative_attention_max_distance=64,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=1,
        initializer_factor=1.0,
    )
    return T5EncoderModel(config)


class SlotHeads(nn.Module):
    """Linear read-outs of every slot from the tokens and from their mean."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.sizes = [len(values) for values in SLOTS.values()]
        self.token = nn.Linear(width, sum(self.sizes))
        self.mean = nn.Linear(width, sum(self.sizes))

    def forward(self, hidden: Tensor, mask: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and which slots the mean reads right, [batch, slots] bool.

        `hidden` [batch, tokens, width], `mask` [batch, tokens], `target` [batch, slots] long.
        """
        kept = mask.bool()
        mean = pooled(hidden, mask)
        rows = target[:, None].expand(-1, hidden.shape[1], -1)[kept]
        by_token = self.token(hidden[kept]).split(self.sizes, -1)
        by_mean = self.mean(mean).split(self.sizes, -1)
        loss = hidden.new_zeros(())
        right = []
        for index, (token, whole) in enumerate(zip(by_token, by_mean, strict=True)):
            loss = loss + nn.functional.cross_entropy(token, rows[:, index])
            loss = loss + nn.functional.cross_entropy(whole, target[:, index])
            right.append(whole.argmax(-1) == target[:, index])
        return loss / len(self.sizes), torch.stack(right, 1)


def pooled(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of the unmasked tokens, [batch, tokens, width] -> [batch, width]."""
    weight = mask[..., None].to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)


def batch_of(
    pairs: list[tuple[str, Slots]], tokenizer: PreTrainedTokenizerFast
) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids and mask, both [batch, tokens], and slot classes [batch, slots]."""
    coded = tokenizer(
        [text for text, _ in pairs],
        padding=True,
        truncation=True,
        max_length=MAX_TOKENS,
        return_tensors="pt",
    )
    target = torch.tensor([[SLOTS[s].index(slots[s]) for s in SLOTS] for _, slots in pairs])
    return coded["input_ids"], coded["attention_mask"], target


def _batches(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, size: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless batches of fresh captions of about equal length, which saves padding."""
    while True:
        pool = sorted((draw(rng) for _ in range(size * 10)), key=lambda pair: len(pair[0]))
        parts = [pool[at : at + size] for at in range(0, len(pool), size)]
        rng.shuffle(parts)
        for part in parts:
            yield batch_of(part, tokenizer)


@torch.no_grad()
def measure(
    encoder: T5EncoderModel, heads: SlotHeads, tokenizer: PreTrainedTokenizerFast, texts: int = 768
) -> dict[str, float]:
    """Share of mentioned slots read right on held-out wordings, by slot, `all` and `known`."""
    rng = random.Random(12345)
    rights: dict[str, list[float]] = {slot: [] for slot in (*SLOTS, "all", "known")}
    encoder.eval()
    for reserved in (True, False):
        for _ in range(texts // 64):
            pairs = [draw(rng, reserved) for _ in range(64)]
            ids, mask, target = batch_of(pairs, tokenizer)
            hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            right = heads(hidden, mask, target)[1]
            named = target > 0
            if not reserved:
                rights["known"] += right[named].float().tolist()
                continue
            rights["all"] += right[named].float().tolist()
            for index, slot in enumerate(SLOTS):
                rights[slot] += right[:, index][named[:, index]].float().tolist()
    encoder.train()
    return {name: sum(got) / max(len(got), 1) for name, got in rights.items()}


def train(plan: TextTraining) -> dict[str, float]:
    """Train until `plan.minutes` or `plan.steps` are over; saves on the way."""
    torch.manual_seed(plan.seed)
    plan.folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(plan.seed)
    encoder, heads = build_encoder(len(tokenizer)), SlotHeads()
    weights = [*encoder.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=plan.peak, betas=(0.9, 0.98), weight_decay=0.01)
    rng = random.Random(plan.seed + 1)
    began, step, done, figures = time.monotonic(), 0, 0.0, {}
    batches = _batches(rng, tokenizer, plan.batch)
    while done < 1:
        done = max((time.monotonic() - began) / (60 * plan.minutes), step / plan.steps)
        rate = plan.peak * min(1, (step + 1) / 200) * max(0.02, min(1.0, 1.3 * (1 - done)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        ids, mask, target = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        loss, right = heads(hidden.float(), mask, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        step += 1
        if step % 50 == 0:
            _log.info("step %d loss %.4f right %.4f", step, loss.item(), right.float().mean())
        if step % 400 == 0 or done >= 1:
            figures = measure(encoder, heads, tokenizer)
            _log.info("step %d %s", step, json.dumps({k: round(v, 4) for k, v in figures.items()}))
            save(plan.folder, encoder, heads, tokenizer, figures)
    return figures


def save(
    folder: Path,
    encoder: T5EncoderModel,
    heads: SlotHeads,
    tokenizer: PreTrainedTokenizerFast,
    figures: dict[str, float],
) -> None:
    """Write encoder, tokenizer, read-outs and figures to `folder`."""
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.save(heads.state_dict(), folder / "heads.pt")
    (folder / "figures.json").write_text(json.dumps(figures, indent=1))


def export_text(trained: Path, folder: Path) -> None:
    """Write `text_encoder` (float16) and `tokenizer` folders below `folder`."""
    encoder = T5EncoderModel.from_pretrained(trained).to(torch.float16)
    encoder.save_pretrained(folder / "text_encoder")
    PreTrainedTokenizerFast.from_pretrained(trained).save_pretrained(folder / "tokenizer")
