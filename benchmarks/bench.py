"""Speeds, each beside a peer timed in the same run."""

import random
import tempfile
import time
from dataclasses import replace
from itertools import count

import torch
from diffusets_published import LATENT as PUBLISHED_LATENT
from diffusets_published import PATIENT, STEPS, TEXT, PublishedDenoiser, PublishedVAE, ancestral
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.flop_counter import FlopCounterMode
from transformers import PrinterCallback, Trainer, TrainingArguments

from uniecg_lite.checkpoints import new_encoders
from uniecg_lite.config import LAPTOP, Profile
from uniecg_lite.ecg_image import raster
from uniecg_lite.generator.denoiser import Denoiser
from uniecg_lite.generator.event_plan import EventModel, TemplateModel
from uniecg_lite.generator.generator import Generator
from uniecg_lite.generator.text_encoder import TextEncoder
from uniecg_lite.generator.vae import LATENT, VAE
from uniecg_lite.language.conversations import Corpus
from uniecg_lite.language.tokenizer import train_tokenizer
from uniecg_lite.leads import LEADS
from uniecg_lite.llm import IGNORED, Batch, pocket_llm
from uniecg_lite.metrics.chain import views_of
from uniecg_lite.model import UniECG
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.stages import CachedTokens, Collator, projections, stage1_loss, trainable
from uniecg_lite.training import Step, TrainingLoop, device_and_why, optimizers, schedule

BATCHES = (1, 32)
TIMED_STEPS = 5  # of 1000, which are then multiplied
STAGE1_STEPS, STAGE1_PATIENTS = 8, 256


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
    stated = condition, EventModel(width), TemplateModel(width)
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


class Shown:
    """Stands in for a model in `stage1_loss`: what it would be shown, as `UniECG.forward` takes it."""

    device = torch.device("cpu")

    def __init__(self, model: UniECG):
        self.batch, self.pad = model.batch, model.tokenizer.pad_token_id

    def project(self, *ecg: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """Signal and image as they are."""
        return ecg

    def loss(self, batch: Batch, ecg=(None, None), rates: bool = False) -> dict[str, torch.Tensor]:
        """The arguments of `UniECG.forward`."""
        labels = torch.full_like(batch.ids[:, 1:], IGNORED).flatten()
        labels[batch.places] = batch.target
        labels = torch.nn.functional.pad(labels.view(len(batch.ids), -1), (1, 0), value=IGNORED)  # (B, T)
        seen = {name: part for name, part in zip(("signal", "image"), ecg) if part is not None}
        return {"input_ids": batch.ids, "attention_mask": (batch.ids != self.pad).long(), "labels": labels, **seen}


def stage1_speeds(profile: Profile = LAPTOP, steps: int = STAGE1_STEPS, repeats: int = 2) -> dict[str, float]:
    """Steps per second of stage 1: `stage1_loss` in our loop, and `UniECG.forward` under transformers' `Trainer`.

    Both see the same ECGs and words in the same order, clip gradients alike and take the same steps of AdamW in the
    same precision. Ours starts from cached encoder tokens and computes logits of answers alone; the Trainer gets ready
    batches of signals, images and ids, and the model encodes them and computes every logit. Steps about two ECGs are
    left out: `forward` takes one.

    Returns:
        stage1.steps_per_second; stage1.trainer_steps_per_second; stage1.ratio_to_trainer, the first over the second.
    """
    patients = simulate(0, torch.arange(STAGE1_PATIENTS))
    corpus, device = Corpus(patients.truth), device_and_why()[0]
    words = train_tokenizer(corpus.sentences(random.Random(0), 600))
    torch.manual_seed(0)
    model = UniECG(pocket_llm(profile, words), words, *new_encoders(profile))
    raw, shown, collator = CachedTokens(patients.signal, raster(patients.signal)), Shown(model), Collator(model, corpus)
    plan, numbers, batches = replace(profile.stage1, steps=steps), [], []
    for number in count():
        if len(batches) == steps:
            break
        batch = stage1_loss(shown, collator, raw, Step(number, 0, plan.batch))
        if "signal" not in batch or batch["signal"].shape[1] == len(LEADS):
            numbers.append(number)
            batches.append(batch)
    model = model.to(device)
    cached = CachedTokens(*(part.half().cpu() for part in views_of(model, patients.signal)))

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            for step in TrainingLoop(training_parts(model), plan, 0, folder, "ours"):
                step.learn(stage1_loss(model, collator, cached, Step(numbers[step.number], 0, plan.batch)))

    def theirs() -> None:
        (adam,) = optimizers(training_parts(model), plan, 0.01, muon=False)
        with tempfile.TemporaryDirectory() as folder:
            how = TrainingArguments(
                folder,
                max_steps=steps,
                per_device_train_batch_size=1,  # of ready batches
                max_grad_norm=1.0,
                bf16=device_and_why()[1] is torch.bfloat16,
                use_cpu=device == "cpu",
                remove_unused_columns=False,
                train_sampling_strategy="sequential",
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            rate = LambdaLR(adam, lambda step: schedule(step, plan))
            trainer = Trainer(model, how, lambda one: one[0], batches, optimizers=(adam, rate))
            trainer.remove_callback(PrinterCallback)
            trainer.train()

    mine, peer = seconds_of(ours, repeats), seconds_of(theirs, repeats)
    return {
        "stage1.steps_per_second": steps / mine,
        "stage1.trainer_steps_per_second": steps / peer,
        "stage1.ratio_to_trainer": peer / mine,
    }


def training_parts(model: UniECG) -> dict[str, torch.nn.Module]:
    """What trains in stage 1."""
    return trainable({"llm": model.llm, **projections(model)})


def bench() -> dict[str, float]:
    """Print and return every speed."""
    print(f"{torch.get_num_threads()} threads; {device_and_why()[2]}")
    print(f"1000 steps of a sampler are {TIMED_STEPS} timed ones, multiplied; the networks have random weights")
    out = simulator_speeds() | stage1_speeds() | generation_speeds() | denoiser_efficiency()
    for name, value in out.items():
        print(f"{name:48s} {value:,.0f}" if value >= 1000 else f"{name:48s} {value:.3g}")
    return out
