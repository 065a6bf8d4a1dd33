"""Designs of the generator: each switch does what it says and nothing else, and every path leads back to the latent."""

from dataclasses import fields, replace

import pytest
import tiny
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from uniecg_lite.config import GPU, LAPTOP, SMOKE
from uniecg_lite.errors import BadRequest
from uniecg_lite.generator.denoiser import Attention, Denoiser, PatchDenoiser, new_denoiser
from uniecg_lite.generator.diffusion import FAULTS, PUBLISHED, Design, Diffusion, Flow, with_faults
from uniecg_lite.generator.event_plan import PLAN, SHOWN
from uniecg_lite.generator.generator import Generator
from uniecg_lite.generator.generator_stages import train_denoiser, train_vae
from uniecg_lite.generator.text_encoder import numbers_of
from uniecg_lite.generator.vae import LATENT, VAE
from uniecg_lite.language.requests import Request
from uniecg_lite.leads import lead_law_residual
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.studies.making import ConditionalVAE, equal_width

PATHS = {
    "flow": Flow(Design()),
    "epsilon": Diffusion(Design(path="epsilon")),
    "v": Diffusion(Design(path="v")),
    "ancestral": Diffusion(with_faults("ancestral")),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latent(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, *LATENT, generator=seeded(seed))


def plans(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, PLAN, LATENT[1], generator=seeded(seed))


def with_denoiser(base, denoiser, *how, vae=None, **more) -> Generator:
    """A generator with the other parts of `base`."""
    return Generator(vae or base.vae, base.condition, base.rhythm, base.templates, denoiser, *how, **more)


@pytest.fixture(scope="module")
def clean():
    return simulate(0, torch.arange(40), 102.4, 10.0, noise=False, first_beat=0.3).signal


def few():
    """Three ECGs and their events."""
    ecgs, events = tiny.few_hearts()
    return ecgs[:3], events.rows(slice(3))


@pytest.fixture(scope="module")
def base():
    return tiny.generator()


# --- switches


def test_faults_together_are_the_published_design():
    assert with_faults() == Design() and with_faults(*FAULTS) == PUBLISHED
    changed = {f.name for f in fields(Design) if getattr(PUBLISHED, f.name) != getattr(Design(), f.name)}
    assert changed == {f.name for f in fields(Design)} - {"family"}, "a transformer is no part of the original"
    for name, changes in FAULTS.items():
        design = with_faults(name)
        assert {f.name for f in fields(Design) if getattr(design, f.name) != getattr(Design(), f.name)} == set(changes)


@pytest.mark.parametrize(
    ("how", "stated"),
    [
        ({"words": "shouted"}, "no words 'shouted': choose one of film"),
        ({"ancestral": True}, "levels of DDPM"),
        ({"words": "tokens", "numbers": "raw"}, "numbers among them"),
        ({"family": "transformer", "words": "tiled"}, "takes one vector"),
        ({"words": "tokens"}, "set paced to False"),
        ({"paced": False}, "set sketched to False"),
        ({"numbers": "scaled"}, "set paced to False"),
    ],
)
def test_what_excludes_each_other_is_refused(how, stated):
    with pytest.raises(BadRequest, match=stated):
        Design(**how)
    with pytest.raises(BadRequest, match="no fault 'none'"):
        with_faults("none")


# --- paths


@pytest.mark.parametrize("name", PATHS)
def test_with_the_exact_answer_every_path_finds_the_latent(name):
    """A net that knows the latent says what `mix` would have asked for at this point."""
    path, target = PATHS[name], 0.5 * latent(3, 1)

    def predict(x, level):
        if isinstance(path, Flow):
            return (x - target) / level
        left = path.ddpm.alphas_cumprod[round(level.item() * 1000)]
        noise = (x - left.sqrt() * target) / (1 - left).sqrt()
        epsilon = path.design.path == "epsilon"
        return noise if epsilon else left.sqrt() * noise - (1 - left).sqrt() * target

    found = path.sample_path(predict, latent(3, 2), 12, seeded(3))
    torch.testing.assert_close(found, target, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", ["flow", "epsilon", "v"])
def test_what_is_asked_for_tells_the_clean_latent(name):
    path, clean, noise = PATHS[name], latent(64, 0), latent(64, 1)
    level = path.levels(64, seeded(2)).clamp(0.05, 0.9)
    noisy, asked = path.mix(clean, noise, level)
    if isinstance(path, Flow):
        predicted = noisy - level[:, None, None] * asked
    else:
        left = path.ddpm.alphas_cumprod[(level * 1000).round().long()][:, None, None]
        if name == "epsilon":
            predicted = (noisy - (1 - left).sqrt() * asked) / left.sqrt()
        else:
            predicted = left.sqrt() * noisy - (1 - left).sqrt() * asked
    torch.testing.assert_close(predicted, clean, atol=1e-4, rtol=1e-4)


def test_the_ends_are_trained_or_not():
    for all_levels, ends in ((True, (0.0, 0.999)), (False, (0.001, 0.998))):
        level = Diffusion(Design(path="epsilon", all_levels=all_levels)).levels(40_000, seeded())
        assert (round(level.min().item(), 6), round(level.max().item(), 6)) == ends
    level = Flow(with_faults("no_ends")).levels(100_000, seeded())
    assert level.min() >= 1 / 999 and level.max() <= 998 / 999
    assert torch.equal(
        Flow(Design()).levels(9, seeded()), torch.sigmoid(torch.randn(9, generator=seeded()) * 1.2 + 0.3)
    )


# --- words


def test_attention_to_copies_of_one_key_is_a_bias():
    torch.manual_seed(0)
    look, words = Attention(16, 24), torch.randn(2, 1, 24)
    x, other = torch.randn(2, 16, 32), torch.randn(2, 16, 32)
    with torch.no_grad():
        added = look(x, words.expand(-1, 32, -1)) - x
        bias = look.attend.out_proj(
            nn.functional.linear(look.bring(words), look.attend.in_proj_weight[32:], look.attend.in_proj_bias[32:])
        ).transpose(1, 2)
        torch.testing.assert_close(added, bias.expand_as(added), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(look(other, words.expand(-1, 32, -1)) - other, added, atol=1e-5, rtol=1e-5)
        several = look(x, torch.randn(2, 5, 24)) - x
    assert (several - several[..., :1]).abs().max() > 1e-2, "several keys tell positions apart"


def test_numbers_beside_the_words():
    requests = [Request(60, "male", 120, ("AFIB",)), Request(None, None, None)]
    assert numbers_of(requests, scaled=False).tolist() == [[120, 60, 1], [80, 60, 0.5]]
    scaled = numbers_of(requests, scaled=True)
    assert scaled[1].tolist() == [0, 0, 0] and scaled.abs().max() < 2


def test_what_each_design_tells_the_denoiser(base):
    requests = tiny.corpus().requests[:3]
    texts = [r.text() for r in requests]
    ours, theirs = (with_denoiser(base, base.denoiser, design=d) for d in (Design(), PUBLISHED))
    assert torch.equal(ours.conditions(requests), base.condition(texts))
    raw = theirs.conditions(requests)
    assert raw.shape == (3, 131) and torch.equal(raw[:, 128:], numbers_of(requests, scaled=False))
    other = [replace(r, rate=r.rate + 20, age=r.age - 5) for r in requests]
    assert torch.equal(theirs.conditions(other)[:, :128], raw[:, :128]), "the words do not hold the numbers"
    tokens = base.condition(texts, each=True)
    assert tokens.shape == (3, 96, 128)
    torch.testing.assert_close(tokens[:, -1], base.condition(texts), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(base.condition(texts[:1], each=True)[0], tokens[0], atol=1e-5, rtol=1e-5)
    assert (tokens[:, 0] - tokens[:, 1]).abs().max() > 0.05, "a vector for each word"


def test_the_plan_has_what_the_design_asks_for(base, clean):
    words = base.condition([r.text() for r in tiny.corpus().requests[:3]])
    for paced, sketched in ((True, True), (True, False), (False, False)):
        generated = with_denoiser(base, base.denoiser, design=Design(paced=paced, sketched=sketched))
        for plan in (generated.plan(words, seeded()), generated.material(*few())[1]):
            assert plan.shape == (3, PLAN, LATENT[1])
            assert plan[:, :SHOWN].any() == paced and plan[:, SHOWN:].any() == sketched


class Knows(nn.Module):
    """Stands in for a denoiser that knows what is left of these latents."""

    def __init__(self, rest):
        super().__init__()
        self.rest = rest

    def forward(self, x, level, condition, plan):
        return (x - self.rest) / level[:, None, None]


def test_the_denoiser_learns_what_the_sketch_leaves(base, clean):
    """A denoiser that knows the rest of the latent says the velocity without error, whatever the spread."""
    words, latents = base.condition(["Rate 70."] * 3), base.latents(clean[:3])
    for design in (Design(), Design(sketched=False), with_faults("shrunk")):
        plan = with_denoiser(base, base.denoiser, design=design).material(*few())[1]
        knows = Knows((latents - plan[:, SHOWN:]) * design.spread)
        assert with_denoiser(base, knows, design=design).loss(latents, plan, words, seeded()) < 1e-6


# --- denoisers


DESIGNS = {
    "tokens": Design(words="tokens", paced=False, sketched=False),
    "transformer": Design(family="transformer"),
    "published": replace(PUBLISHED, ancestral=False),
    "velocity": Design(path="v"),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_trains_and_samples(name, clean, base, tmp_path):
    design = DESIGNS[name]
    torch.manual_seed(0)
    vae = VAE(16, free_leads=design.free_leads).requires_grad_(False)
    vae.measure_scale(clean)
    generated = with_denoiser(base, new_denoiser(design, 16, 128), 3, 2.0, design, vae=vae)
    plan = tiny.replace(tiny.PLAN, steps=80, batch=8, lr=3e-3)
    history = train_denoiser(generated, generated.material(*tiny.few_hearts()), tiny.corpus(), plan, 0, tmp_path)
    first, *_, a, b, c, d = history["loss"]  # one of them hangs on the levels that were drawn
    assert (a + b + c + d) / 4 < 0.95 * first
    assert not any(p.requires_grad for p in generated.denoiser.parameters())
    assert generated.latents(clean).std().item() == pytest.approx(1, rel=0.02)
    words = generated.conditions(tiny.corpus().requests[:2])
    signal = generated.signals(words, seed=1)
    assert signal.shape == (2, 12, 1024) and torch.equal(signal, generated.signals(words, seed=1))
    broken = lead_law_residual(signal, quantile=1).max().item()
    assert broken > 1e-3 if design.free_leads else broken < 1e-5


def test_free_leads_start_from_principal_components_of_all_twelve(clean):
    torch.manual_seed(0)
    vae = VAE(16, free_leads=True).eval()
    vae.start(clean)
    with torch.no_grad():
        generated = vae.decode(vae.encode(clean))
        assert (generated - clean).square().mean() < 0.15 * clean.square().mean()
        assert lead_law_residual(generated, quantile=1).max() > 0.01, "what nothing ties does not hold"


def test_the_last_weights_are_not_their_average(clean, base, tmp_path):
    kept = []
    for averaged in (True, False):
        torch.manual_seed(0)
        generated = with_denoiser(base, Denoiser(16, 128), design=Design(averaged=averaged))
        train_denoiser(
            generated,
            generated.material(*tiny.few_hearts()),
            tiny.corpus(),
            tiny.replace(tiny.PLAN, steps=5),
            0,
            tmp_path / str(averaged),
        )
        kept.append(generated.denoiser.inward.weight.clone())
    assert not torch.equal(*kept)


class Spy(nn.Module):
    """Stands in for the denoiser and counts how many latents it is asked about."""

    def __init__(self):
        super().__init__()
        self.null, self.asked = nn.Parameter(torch.full((128,), 9.0)), []

    def forward(self, x, level, condition, plan):
        self.asked.append((len(x), condition))
        return self.null.sum() * 0 * x


def test_an_unguided_generator_asks_once_and_drops_no_condition(clean, base, tmp_path):
    words = base.conditions(tiny.corpus().requests[:2])
    for design, steps in ((Design(guided=False), 3), (with_faults("unguided", "ancestral"), 1000)):
        spy = Spy()
        with_denoiser(base, spy, 3, design=design).sample(words)
        assert [n for n, _ in spy.asked] == [2] * steps
    for guided in (True, False):
        spy, plan = Spy(), tiny.replace(tiny.PLAN, steps=3, batch=32)
        generated = with_denoiser(base, spy, design=Design(guided=guided))
        train_denoiser(
            generated, generated.material(*tiny.few_hearts()), tiny.corpus(), plan, 0, tmp_path / str(guided)
        )
        dropped = sum((condition > 8).all(1).sum().item() for _, condition in spy.asked)
        assert (dropped > 0) == guided


def operations(design: Design, width: int) -> int:
    """Floating-point operations of one call for one latent, counted without doing them; norms are left out."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), counter, torch.no_grad():
        inputs = [torch.zeros(1, *shape) for shape in (LATENT, (), (128,), (PLAN, LATENT[1]))]
        new_denoiser(design, width, 128).train()(*inputs)  # eval() and fused attention would hide layers
    return counter.get_total_flops()


@pytest.mark.parametrize("profile", [SMOKE, LAPTOP, GPU], ids=lambda profile: profile.name)
def test_the_transformer_computes_as_much_as_the_unet(profile):
    unet, transformer = (operations(design, profile.unet_width) for design in (Design(), Design(family="transformer")))
    assert transformer == pytest.approx(unet, rel=0.12)


def test_an_untrained_transformer_says_nothing_and_then_hears_words_and_beats():
    torch.manual_seed(0)
    net, x, level = PatchDenoiser(32, 128), torch.randn(2, *LATENT), torch.tensor([0.3, 0.7])
    words = torch.randn(2, 128)
    assert not net(x, level, words, plans(2)).any()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.05 * torch.randn_like(p))
        first = net(x, level, words, plans(2))
        other, late = net(x, level, -words, plans(2)), net(x, level, words, -plans(2))
    assert first.shape == x.shape and (first - other).abs().max() > 1e-3 and (first - late).abs().max() > 1e-3


# --- other generators


def test_a_conditional_vae_of_equal_size_learns_and_is_steered(clean, tmp_path):
    with torch.device("meta"):
        wanted = sum(p.numel() for p in Denoiser(48, 128).parameters())
        size = sum(p.numel() for p in ConditionalVAE(equal_width(wanted, 128), 128).parameters())
    assert size == pytest.approx(wanted, rel=0.06)
    torch.manual_seed(0)
    model, words = ConditionalVAE(16, 128), torch.randn(40, 128)
    plan = tiny.replace(tiny.PLAN, steps=20, batch=8, lr=1e-2)
    history = train_vae(model, clean, plan, 0, tmp_path, words, plans(40, seed=2))
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    generated = model.signals(words[:2], plans(2), seed=0)
    assert generated.shape == (2, 12, 1024) and lead_law_residual(generated, quantile=1).max() < 1e-5
    assert torch.equal(generated, model.signals(words[:2], plans(2)))
    assert not torch.equal(generated, model.signals(words[2:4], plans(2)))
    assert not torch.equal(generated, model.signals(words[:2], plans(2, seed=1)))
