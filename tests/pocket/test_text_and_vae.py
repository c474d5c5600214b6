"""The tokenizer reads any text, and the whole-clip passes equal diffusers' own."""

import torch
from transformers import AutoTokenizer

from studio.pocket.train_text import build_encoder, train_tokenizer
from studio.pocket.train_vae import Muon, to_frames, to_pixels
from studio.pocket.train_vae_clip import build_vae, decode_clip, enable_whole_clips, encode_clip


def test_the_tokenizer_survives_saving_and_any_text(tmp_path):
    train_tokenizer(texts=500).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.pad_token_id == 0
    for text in ("a red ball moves left", "日本語 ✨", ""):
        ids = tokenizer(text)["input_ids"]
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text
    assert tokenizer("RED Ball")["input_ids"] == tokenizer("red ball")["input_ids"]


def test_the_encoder_is_small():
    assert sum(p.numel() for p in build_encoder(2048).parameters()) < 1_000_000


@torch.no_grad()
def test_whole_clip_passes_equal_the_cached_ones():
    torch.manual_seed(0)
    vae = build_vae().eval()
    latents, pixels = torch.randn(1, 48, 3, 2, 2), torch.rand(1, 3, 9, 32, 32) * 2 - 1
    decoded, coded = vae.decode(latents).sample, vae.encode(pixels).latent_dist.mean
    enable_whole_clips(vae)
    assert torch.allclose(decode_clip(vae, latents).clamp(-1, 1), decoded, atol=1e-4)
    assert torch.allclose(encode_clip(vae, pixels), coded, atol=1e-4)


def test_pixels_and_frames_are_inverse():
    frames = torch.randint(0, 256, (2, 3, 8, 8, 3), dtype=torch.uint8).numpy()
    assert (to_frames(to_pixels(frames)) == frames).all()


def test_muon_moves_a_weight_against_its_gradient():
    weight = torch.nn.Parameter(torch.zeros(8, 32))
    weight.grad = torch.randn(8, 32)
    Muon([weight]).step(0.01)
    assert float((weight.detach() * weight.grad).sum()) < 0
