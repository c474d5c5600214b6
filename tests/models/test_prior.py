"""The coordinates of tokens: exact there and back, of unit variance, and a right velocity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.models.prior import TokenPrior, from_tokens, to_tokens

CHANNELS = 3


def _gaussian(count: int, seed: int) -> torch.Tensor:
    """Latents [B,3,2,4,4] whose tokens are Gaussian with mixed directions and a mean by place."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(12, 12, generator=torch.Generator().manual_seed(99)) / 3.0
    mean = torch.randn(2, 2, 12, generator=torch.Generator().manual_seed(98))
    tokens = torch.randn(count, 2, 2, 2, 12, generator=generator) @ mixing + mean
    return from_tokens(tokens)


@pytest.fixture(scope="module")
def prior() -> TokenPrior:
    return TokenPrior.fit(_gaussian(20000, 0))


def test_tokens_there_and_back() -> None:
    latents = torch.randn(2, 5, 3, 4, 6)
    assert to_tokens(latents).shape == (2, 3, 2, 3, 20)
    assert torch.equal(from_tokens(to_tokens(latents)), latents)


def test_zero_output_is_the_mean_picture(prior: TokenPrior) -> None:
    noisy, sigma = torch.randn(3, CHANNELS, 2, 4, 4), torch.tensor([0.1, 0.5, 1.0])
    velocity = prior.finish(torch.zeros_like(noisy), noisy, sigma)
    clean = noisy - sigma.reshape(-1, 1, 1, 1, 1) * velocity
    mean = _gaussian(20000, 0).mean((0, 2))
    assert torch.allclose(clean, mean[None, :, None].expand_as(clean), atol=0.05)


def test_input_and_target_have_unit_variance(prior: TokenPrior) -> None:
    clean, noise = _gaussian(4000, 2), torch.randn(4000, CHANNELS, 2, 4, 4)
    sigma = torch.rand(4000) * 0.98 + 0.01
    level = sigma.reshape(-1, 1, 1, 1, 1)
    noisy = (1 - level) * clean + level * noise
    nothing = torch.zeros(4000, 4, 2, 4, 4)
    inputs = prior.prepare(noisy, nothing, torch.zeros_like(noisy), sigma)
    assert inputs.shape == (4000, 2 * CHANNELS + 4, 2, 4, 4)
    assert inputs[:, :CHANNELS].var().item() == pytest.approx(1.0, abs=0.03)
    assert prior.target(clean, sigma)[0].var().item() == pytest.approx(1.0, abs=0.03)
    assert not inputs[:, CHANNELS:].any()


@pytest.mark.parametrize("level", [0.2, 0.5, 0.9])
def test_an_error_counts_by_what_it_does_to_the_velocity(prior: TokenPrior, level: float) -> None:
    clean, noise = _gaussian(6, 3), torch.randn(6, CHANNELS, 2, 4, 4)
    sigma = torch.full((6,), level)
    noisy = (1 - level) * clean + level * noise
    target, weight = prior.target(clean, sigma)
    off = torch.zeros_like(target)
    off[..., 2] = 0.1
    wrong = prior.finish(from_tokens(target + off), noisy, sigma) - (noise - clean)
    error = (to_tokens(wrong) @ prior.rotation)[..., 2].square()
    spread = (1 - level) ** 2 * prior.variances + level**2
    unit = (prior.variances / spread).sqrt()
    counted = (weight * off.square())[..., 2]
    assert torch.allclose(counted, error / (unit[2] * unit.mean()), rtol=1e-3)


def test_the_target_gives_the_true_velocity(prior: TokenPrior) -> None:
    clean, noise = _gaussian(6, 3), torch.randn(6, CHANNELS, 2, 4, 4)
    sigma = torch.linspace(0.1, 1.0, 6)
    level = sigma.reshape(-1, 1, 1, 1, 1)
    noisy = (1 - level) * clean + level * noise
    named = from_tokens(prior.target(clean, sigma)[0])
    assert torch.allclose(prior.finish(named, noisy, sigma), noise - clean, atol=1e-3)


def test_condition_is_whitened_only_where_given(prior: TokenPrior) -> None:
    clean = _gaussian(2000, 4)
    mask = torch.zeros(2000, 4, 2, 4, 4)
    mask[:, 3, 1] = 1
    inputs = prior.prepare(clean, mask, clean, torch.full((2000,), 0.5))
    given = inputs[:, CHANNELS + 4 :]
    assert not given[:, :, 0].any()
    assert given[:, :, 1].var().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(inputs[:, CHANNELS : CHANNELS + 4], mask)


def test_other_sizes_and_files(prior: TokenPrior, tmp_path: Path) -> None:
    prior.save(tmp_path)
    again = TokenPrior.load(tmp_path)
    noisy = torch.randn(1, CHANNELS, 5, 8, 6)
    velocity = again.finish(torch.zeros_like(noisy), noisy, torch.tensor([0.7]))
    assert velocity.shape == noisy.shape
    assert torch.equal(again.rotation, prior.rotation)
