"""One training step's parts, the schedule, sampling levels and the export."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel

from studio.models.prior import TokenPrior
from studio.pocket import train_transformer as training
from studio.pocket.batches import Batch
from studio.pocket.export import export_transformer
from studio.pocket.preview import levels, sample
from studio.pocket.train_transformer import Plan, build, draw_sigma, loss_of

WIDTH = 16


@pytest.fixture(scope="module")
def model() -> WanTransformer3DModel:
    torch.manual_seed(0)
    return build(WIDTH)


@pytest.fixture(scope="module")
def prior() -> TokenPrior:
    return TokenPrior(torch.zeros(4, 4, 192), torch.eye(192), torch.linspace(3.0, 0.1, 192))


def _batch(given: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    clean = torch.randn(2, 48, 7, 8, 8, generator=generator)
    mask = torch.zeros(2, 4, 7, 8, 8)
    mask[:, :, :given] = 1
    return Batch(clean, mask, clean * mask[:, :1], torch.zeros(2, 64, WIDTH), ["", ""])


@pytest.mark.parametrize("given", [0, 3])
def test_an_untrained_model_names_the_mean_picture(
    model: WanTransformer3DModel, prior: TokenPrior, given: int
) -> None:
    batch = _batch(given)
    sigma, noise = torch.tensor([0.4, 0.9]), torch.randn(2, 48, 7, 8, 8)
    losses = loss_of(model, prior, batch, sigma, noise)
    target, weight = prior.target(batch.clean, sigma)
    wanted = (weight * target.square())[:, given:].mean((1, 2, 3, 4))
    assert torch.allclose(losses, wanted, rtol=1e-3)


def test_noise_levels() -> None:
    sigma = draw_sigma(4000, torch.Generator().manual_seed(0))
    assert sigma.min() > 0.0
    assert sigma.max() < 1.0
    assert 0.6 < sigma.median() < 0.9
    assert levels(20)[0] == 1.0
    assert levels(20)[-1] == 0.0


def test_the_rate_warms_up_and_cools_down(tmp_path: Path) -> None:
    now = time.time()
    plan = Plan(tmp_path, tmp_path, until=now + 100, cool=now - 100)
    assert training._factor(plan, 10**6) == pytest.approx(0.5, abs=0.05)
    assert training._factor(plan, 0) < 0.02
    assert training._factor(Plan(tmp_path, tmp_path, now - 1, now - 2), 10**6) == 0.0
    assert training._factor(Plan(tmp_path, tmp_path, now + 99, now + 50), 10**6) == 1.0


def test_sampling_keeps_given_latents(model: WanTransformer3DModel, prior: TokenPrior) -> None:
    batch = _batch(2)
    text = torch.zeros(2, 64, WIDTH)
    got = sample(model, prior, text, text[:1], (batch.mask, batch.condition), steps=2)
    assert got.shape == batch.clean.shape
    assert torch.allclose(got[:, :, :2], batch.clean[:, :, :2])


def test_export_holds_the_averaged_weights(
    tmp_path: Path, model: WanTransformer3DModel, prior: TokenPrior
) -> None:
    average = [p.detach() + 0.5 for p in model.parameters()]
    state = {"step": 7, "model": model.state_dict(), "average": average, "optimisers": []}
    torch.save(state, tmp_path / "state.pt")
    (tmp_path / "prior").mkdir()
    prior.save(tmp_path / "prior")
    assert export_transformer(tmp_path, tmp_path / "out", WIDTH) == 7
    again = WanTransformer3DModel.from_pretrained(tmp_path / "out", torch_dtype=torch.float32)
    assert torch.allclose(again.proj_out.weight, model.proj_out.weight + 0.5, atol=1e-3)
    assert torch.equal(TokenPrior.load(tmp_path / "out").variances, prior.variances)
