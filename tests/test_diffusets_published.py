"""The published networks: parameter counts, shapes, the noise schedule, and what their condition can do."""

import diffusets_published as room
import pytest
import torch
from diffusets_published import PublishedDenoiser, PublishedVAE, ancestral, parameters


def on_meta(build, *how):
    with torch.device("meta"):
        return build(*how)


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(0)
    return PublishedDenoiser(text=8).eval().requires_grad_(False)


def test_the_vae_has_the_published_sizes():
    vae = on_meta(PublishedVAE)
    assert parameters(vae.encoder) == pytest.approx(12.22e6, rel=0.001)
    assert parameters(vae.decoder) == pytest.approx(17.33e6, rel=0.001)
    latent = vae.encode(torch.empty(2, 12, 1024, device="meta"))
    assert latent.shape == (2, 4, 128)
    assert vae.decode(latent).shape == (2, 12, 1024)


@pytest.mark.parametrize(
    "text, channels, total, trained",
    [(1536, 4, 14.18e6, 13.35e6), (8192, 4, 21.74e6, 20.91e6), (1536, 12, 107.8e6, None)],
)
def test_the_denoiser_has_the_published_sizes(text, channels, total, trained):
    net = on_meta(PublishedDenoiser, text, channels)
    assert parameters(net) == pytest.approx(total, rel=0.005)
    if trained:
        assert parameters(net, trained=True) == pytest.approx(trained, rel=0.005)
    length = 128 if channels == 4 else 1024
    x = torch.empty(2, channels, length, device="meta")
    steps = torch.zeros(2, dtype=torch.long, device="meta")
    assert net(x, steps, torch.empty(2, text + 3, device="meta")).shape == x.shape


def test_condition_layers_hold_what_is_published_of_them():
    net = on_meta(PublishedDenoiser, 8192)
    blocks = [part for part in net.modules() if isinstance(part, room.Block)]
    assert len(blocks) == 13
    assert sum(parameters(block.words) for block in blocks) == pytest.approx(9.3e6, rel=0.01)
    assert sum(block.table.numel() for block in blocks) == 13 * 1000 * 64
    assert [block.look.embed_dim for block in net.down] == [8, 16, 32, 64, 128, 256]
    assert all(block.look.num_heads == 8 for block in [*net.down, *net.up])


def test_the_schedule_is_linear_and_sinks_to_the_published_level():
    schedule = room.published_schedule()
    torch.testing.assert_close(schedule.betas, torch.linspace(0.00085, 0.012, 1000))
    assert schedule.alphas_cumprod[-1].item() == pytest.approx(0.00158, rel=0.01)
    ratio = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)  # of unit-variance signal to noise
    assert (ratio < 1).int().argmax().item() == pytest.approx(284, abs=1)
    assert (0.171**2 * ratio < 1).int().argmax().item() == pytest.approx(28, abs=1), "shrunk latents drown early"


def test_the_sampler_is_the_ancestral_step_of_ho_et_al(denoiser):
    """x_(t-1) = (x_0 at its weight) + (x_t at its weight) + noise, written out for one step."""
    condition = torch.zeros(2, 11)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, 4, 128, generator=generator)
    beta = torch.linspace(0.00085, 0.012, 1000)
    bar = (1 - beta).cumprod(0)
    t = 999
    guess = denoiser(x, torch.tensor([t, t]), condition)
    clean = ((x - (1 - bar[t]).sqrt() * guess) / bar[t].sqrt()).clamp(-1, 1)
    mean = bar[t - 1].sqrt() * beta[t] / (1 - bar[t]) * clean
    mean = mean + (1 - beta[t]).sqrt() * (1 - bar[t - 1]) / (1 - bar[t]) * x
    spread = (beta[t] * (1 - bar[t - 1]) / (1 - bar[t])).sqrt()
    expected = mean + spread * torch.randn(2, 4, 128, generator=generator)
    torch.testing.assert_close(ancestral(denoiser, condition, seed=5, most=1), expected, atol=1e-4, rtol=1e-4)


def test_attention_to_copies_of_one_vector_adds_the_same_at_every_position(denoiser):
    torch.manual_seed(0)
    block = denoiser.down[2]
    words = block.widen(block.words_norm(block.words(torch.randn(1, 11))))[:, None].expand(-1, 32, -1)
    queries = torch.randn(1, 32, words.shape[-1])
    added = block.listen(queries, words, words, need_weights=False)[0]
    torch.testing.assert_close(added, added[:, :1].expand_as(added), atol=1e-5, rtol=1e-5)


def test_raw_numbers_outweigh_the_words_before_training():
    torch.manual_seed(0)
    block = PublishedDenoiser(text=64).down[-1]
    words = torch.nn.functional.normalize(torch.randn(2, 64), dim=1)
    patient = torch.tensor([[1.0, 60.0, 60.0]])

    def steer(text, numbers):
        return block.words_norm(block.words(torch.cat([text, numbers], 1)))

    base = steer(words[:1], patient)
    faster = steer(words[:1], patient + torch.tensor([[0.0, 0.0, 60.0]]))
    other_words = steer(words[1:], patient)
    assert (faster - base).norm() > 5 * (other_words - base).norm()


def test_shapes_and_determinism(denoiser):
    condition = torch.randn(1, 11)
    one, again = (ancestral(denoiser, condition, seed=1, most=2) for _ in range(2))
    assert one.shape == (1, 4, 128)
    assert torch.equal(one, again)
    assert not torch.equal(one, ancestral(denoiser, condition, seed=2, most=2))


def test_a_real_pass_through_the_vae_is_finite():
    torch.manual_seed(0)
    vae = PublishedVAE().requires_grad_(False)
    latent = vae.encode(torch.randn(1, 12, 1024))
    assert latent.shape == (1, 4, 128)
    assert vae.decode(latent).isfinite().all()
