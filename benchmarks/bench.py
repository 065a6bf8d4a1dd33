"""Speeds, each beside a peer timed in the same run."""

import time

import torch
from diffusets_published import LATENT as PUBLISHED_LATENT
from diffusets_published import PATIENT, STEPS, TEXT, PublishedDenoiser, PublishedVAE, ancestral
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from uniecg_lite.config import LAPTOP, Profile
from uniecg_lite.ecg_image import raster
from uniecg_lite.generator.beat_plan import AverageBeat, RRModel
from uniecg_lite.generator.denoiser import Denoiser
from uniecg_lite.generator.generator import Generator
from uniecg_lite.generator.text_encoder import TextEncoder
from uniecg_lite.generator.vae import LATENT, VAE
from uniecg_lite.language.conversations import Corpus
from uniecg_lite.language.tokenizer import train_tokenizer
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.training import device_and_why

BATCHES = (1, 32)
TIMED_STEPS = 5  # of 1000, which are then multiplied


def seconds_of(work, repeats: int = 5) -> float:
    """Seconds of the fastest of several repeats after a warm-up."""
    work()
    times = []
    for _ in range(repeats):
        _wait()
        begun = time.perf_counter()
        work()
        _wait()
        times.append(time.perf_counter() - begun)
    return min(times)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def simulator_speeds() -> dict[str, float]:
    """ECGs and images per second, and the simulator's ratio to NeuroKit2's (extra `bench`)."""
    index = torch.arange(256)
    out = {"simulator.ecgs_per_second": 256 / seconds_of(lambda: simulate(0, index))}
    signal = simulate(0, index[:64]).signal
    out["raster.images_per_second"] = 64 / seconds_of(lambda: raster(signal))
    try:
        import neurokit2

        how = dict(duration=10, sampling_rate=100, method="multileads", random_state=0)
        peer = 1 / seconds_of(lambda: neurokit2.ecg_simulate(**how), 3)
        out["simulator.ratio_to_neurokit2"] = out["simulator.ecgs_per_second"] / peer
    except ImportError:
        print("neurokit2 is not installed: pip install -e .[bench] for the comparison")
    return out


def new_generator(profile: Profile, most: int = max(BATCHES)) -> tuple[Generator, torch.Tensor]:
    """The generator of a profile with random weights, and conditions (most, D_c) of as many requests."""
    texts = [request.text() for request in Corpus(simulate(0, torch.arange(most)).truth).requests]
    condition = TextEncoder(train_tokenizer(texts, 400))
    width = condition.settings["width"]
    stated = condition, RRModel(width), AverageBeat(width)
    parts = VAE(profile.vae_width), *stated, Denoiser(profile.unet_width, width)
    generator = Generator(*parts, profile.sample_steps, profile.guidance)
    generator = generator.requires_grad_(False).eval().to(device_and_why()[0])
    return generator, generator.condition(texts)


@torch.no_grad()
def generation_speeds(
    profile: Profile = LAPTOP, batches: tuple[int, ...] = BATCHES, steps: int = TIMED_STEPS, repeats: int = 2
) -> dict[str, float]:
    """Seconds for one 12-lead ECG of 10 s from its condition, by our sampler and by the published network.

    Weights are random, which makes no difference to the time. Of 1000 steps only `steps` are timed, then multiplied;
    the decoder is timed whole. Ours evaluates its denoiser twice a step, for guidance; the published one once. Both
    compute in float32.

    Returns:
        for each batch size B: generation.seconds_per_ecg.batch<B>, our default sampler;
        generation.seconds_per_ecg_1000_steps.batch<B>, our networks with 1000 steps;
        generation.published_seconds_per_ecg.batch<B>, the published size with its 1000 steps;
        generation.speedup_vs_published.batch<B>, the last over the first; and
        generation.speedup_vs_published, the smallest of these.
    """
    ours, conditions = new_generator(profile, max(batches))
    device = conditions.device
    denoiser, vae = (part().requires_grad_(False).eval().to(device) for part in (PublishedDenoiser, PublishedVAE))
    published = torch.randn(max(batches), TEXT + PATIENT, device=device)
    out, ratios = {}, []
    for size in batches:
        condition, mine = conditions[:size], torch.randn(size, *LATENT, device=device)
        latent = torch.randn(size, *PUBLISHED_LATENT, device=device)
        few = seconds_of(lambda c=condition: ours.sample(c, steps=steps), repeats)
        ours_1000 = few * STEPS / steps + seconds_of(lambda x=mine: ours.vae.decode(x), repeats)
        few = seconds_of(lambda c=published[:size]: ancestral(denoiser, c, most=steps), repeats)
        theirs = few * STEPS / steps + seconds_of(lambda x=latent: vae.decode(x), repeats)
        default = seconds_of(lambda c=condition: ours.signals(c), repeats)
        ratios.append(theirs / default)
        out |= {
            f"generation.seconds_per_ecg.batch{size}": default / size,
            f"generation.seconds_per_ecg_1000_steps.batch{size}": ours_1000 / size,
            f"generation.published_seconds_per_ecg.batch{size}": theirs / size,
            f"generation.speedup_vs_published.batch{size}": ratios[-1],
        }
    return out | {"generation.speedup_vs_published": min(ratios)}


def flops_of(work) -> int:
    """Floating-point operations of the matrix products, convolutions and attentions in one call."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # fused attention is not counted
        work()
    return counter.get_total_flops()


@torch.no_grad()
def denoiser_efficiency(profile: Profile = LAPTOP, batch: int = max(BATCHES), side: int = 2048) -> dict[str, float]:
    """FLOP/s of our denoiser in a step of guided sampling, and their ratio to those of a large product, in float32.

    The ratio is no share of a peak: another product may be faster, and a library may convolve with fewer operations.
    """
    generator, conditions = new_generator(profile, batch)
    net, device = generator.denoiser, conditions.device
    x, level = torch.randn(2 * batch, *LATENT, device=device), torch.rand(2 * batch, device=device)
    predicted = torch.cat([conditions, net.null.expand_as(conditions)])
    plan = generator.plan(predicted, torch.Generator().manual_seed(0))
    work = flops_of(lambda: net.train()(x, level, predicted, plan))  # eval() may fuse layers, which are not counted
    rate = work / seconds_of(lambda: net.eval()(x, level, predicted, plan))
    matrix = torch.randn(side, side, device=device)
    product = 2 * side**3 / seconds_of(lambda: matrix @ matrix)
    return {
        "generation.denoiser_gflop_per_ecg_step": work / batch / 1e9,
        "generation.denoiser_gflop_per_second": rate / 1e9,
        "machine.matrix_gflop_per_second": product / 1e9,
        "generation.denoiser_speed_over_matrix_product": rate / product,
    }


def bench() -> dict[str, float]:
    """Print and return every speed."""
    print(f"{torch.get_num_threads()} threads; {device_and_why()[2]}")
    print(f"1000 steps of a sampler are {TIMED_STEPS} timed ones, multiplied; the networks have random weights")
    out = simulator_speeds() | generation_speeds() | denoiser_efficiency()
    for name, value in out.items():
        print(f"{name:48s} {value:,.0f}" if value >= 1000 else f"{name:48s} {value:.3g}")
    return out
