"""How does a model train? One loop for every training: seeded by step, checkpointed, resumed to the same numbers."""

import json
import math
import os
import random
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm
from transformers.utils import logging

from .config import Training
from .errors import BadArtifact, require
from .muon import Muon

SAVE_EVERY = 30.0  # seconds between checkpoints
BF16_FROM = (8, 0)  # CUDA compute capability; older devices only emulate bfloat16


def device_and_why() -> tuple[str, torch.dtype, str]:
    """(device, dtype of matrix products, the reason in words). bfloat16 only where the hardware multiplies it."""
    if torch.cuda.is_available():
        name, fits = torch.cuda.get_device_name(), torch.cuda.get_device_capability() >= BF16_FROM
        dtype, words = (torch.bfloat16, "bf16 autocast") if fits else (torch.float32, "no bf16 units, float32")
        return "cuda", dtype, f"CUDA device {name} found, {words}"
    can = torch.cpu.get_capabilities()
    fits = can.get("amx_bf16") or can.get("avx512_bf16")
    dtype, words = (torch.bfloat16, "with bf16 units, bf16 autocast") if fits else (torch.float32, "in float32")
    return "cpu", dtype, f"no CUDA device; {torch.get_num_threads()} CPU threads {words}"


def autocast() -> torch.autocast:
    """Training and inference compute in the same precision, that of `device_and_why`."""
    device, dtype, _ = device_and_why()
    return torch.autocast(device, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16)


@contextmanager
def inference() -> Iterator[None]:
    """No gradients, and the precision that the model was trained in. Also a decorator."""
    with torch.no_grad(), autocast():
        yield


@contextmanager
def unfused() -> Iterator[None]:
    """On a CPU no fused attention where gradients follow: its backward is slow for short rows. Also a decorator."""
    plain = torch.is_grad_enabled() and not torch.cuda.is_available()
    with sdpa_kernel(SDPBackend.MATH) if plain else nullcontext():
        yield


def quiet_libraries() -> None:
    """Silence what libraries say about themselves: two warnings and the bars of weight loading."""
    for noise in ("enable_nested_tensor", "`is_gradient_checkpointing`"):
        warnings.filterwarnings("ignore", message=noise)
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def step_seed(seed: int, step: int) -> int:
    """The seed of one step. It depends on seed and step alone, so a resumed run draws the same."""
    return 1_000_003 * (seed + 1) + step


def rows_of(step: int, seed: int, batch: int, total: int) -> torch.Tensor:
    """(batch,) rows of this step: every epoch is a fresh permutation of all rows, seen once each."""
    places = torch.arange(step * batch, (step + 1) * batch)
    first, last = step * batch // total, ((step + 1) * batch - 1) // total  # epochs
    seeds = [7919 * (seed + 1) + epoch for epoch in range(first, last + 1)]
    orders = [torch.randperm(total, generator=torch.Generator().manual_seed(one)) for one in seeds]
    return torch.cat(orders)[places - first * total]


def schedule(step: int, plan: Training) -> float:
    """Linear warm-up, then a cosine down to 2% of the learning rate."""
    if step < plan.warmup:
        return (step + 1) / plan.warmup
    share = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))


def optimizers(
    modules: dict[str, nn.Module], plan: Training, weight_decay: float, muon: bool
) -> list[torch.optim.Optimizer]:
    """AdamW for all that trains; with `muon`, Muon for the matrices of linear layers, and AdamW for the rest.

    Muon (Jordan et al. 2024; for language models Liu et al., arXiv 2502.16982) turns a step into an orthogonal matrix:
    every direction moves alike, also those that few examples show. Word tables and the output layer that goes with
    them are not for it. Its steps are scaled to AdamW's, so that one learning rate fits both.
    """
    layers = [(name, m) for module in modules.values() for name, m in module.named_modules()]
    inner = {id(m.weight) for name, m in layers if isinstance(m, nn.Linear) and "lm_head" not in name}
    inner -= {id(m.weight) for _, m in layers if isinstance(m, nn.Embedding)}  # a table may be the output layer, too
    every = {id(p): p for module in modules.values() for p in module.parameters() if p.requires_grad}
    linear = [p for p in every.values() if muon and id(p) in inner]
    rest = [p for p in every.values() if not (muon and id(p) in inner)]
    matrices, vectors = [p for p in rest if p.dim() > 1], [p for p in rest if p.dim() <= 1]
    groups = [{"params": g, "weight_decay": w} for g, w in ((matrices, weight_decay), (vectors, 0.0)) if g]
    fused = all(p.device.type != "meta" for p in rest)  # no kernel there
    built = [torch.optim.AdamW(groups, lr=plan.lr, betas=(0.9, 0.98), fused=fused)] if groups else []
    if linear:
        built.append(Muon(linear, plan.lr, weight_decay))
        built[-1].precision = device_and_why()[1]
    return built


class Step:
    """One step of a `TrainingLoop`: what it draws, and where its loss goes."""

    def __init__(self, number: int, seed: int, batch: int):
        self.number, self.seed, self.batch = number, seed, batch
        self.rng = random.Random(f"{seed}/{number}")
        self.generator = torch.Generator().manual_seed(step_seed(seed, number))
        self.parts: dict[str, torch.Tensor] = {}

    def rows(self, total: int) -> torch.Tensor:
        """(batch,) rows out of `total`, each once an epoch."""
        return rows_of(self.number, self.seed, self.batch, total)

    def learn(self, loss: torch.Tensor, **parts: torch.Tensor) -> None:
        """Take this scalar's gradient when the step ends; `parts` are recorded beside it."""
        self.parts = {"loss": loss, **{name: part.detach() for name, part in parts.items()}}


class TrainingLoop:
    """Train every parameter of `modules` that requires a gradient; afterwards none does.

        loop = TrainingLoop({"net": net}, plan, seed, folder)
        for step in loop:                                        # under autocast
            rows = step.rows(len(data))
            step.learn(loss_of(net, data[rows]))                 # zero_grad, backward, clip, optimizer steps follow
        loop.history["loss"]

    Args:
        modules: what trains, by name.
        plan: steps, batch, lr, warmup.
        seed: with the step number the only source of randomness.
        folder: where the checkpoint goes; a killed run continues from the last one and ends with the same numbers.
        name: shown on the progress bar.
        weight_decay: AdamW's, on matrices only.
        ema: decay of the moving average of the weights that is left in the modules at the end (Polyak averaging); None
            for the plain weights. The decay warms up, so that the first weights are soon forgotten.
        muon: matrices of linear layers learn by Muon in place of AdamW, see `optimizers`.

    `history` is {"loss": [...], other parts: [...], "seconds": s, "steps": n}, losses averaged over 10 steps.
    """

    def __init__(
        self,
        modules: dict[str, nn.Module],
        plan: Training,
        seed: int,
        folder: str | Path,
        name: str = "training",
        *,
        weight_decay: float = 0.01,
        ema: float | None = None,
        muon: bool = False,
    ):
        self.name, self.plan, self.seed, self.ema = name, plan, seed, ema
        self.checkpoint = Path(folder) / "checkpoint.safetensors"
        self.parameters = {
            f"{m}.{n}": p for m, module in modules.items() for n, p in module.named_parameters() if p.requires_grad
        }
        require(self.parameters, f"Nothing trains in '{name}': every parameter is frozen.", BadArtifact)
        self.optimizers = optimizers(modules, plan, weight_decay, muon)
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()} if ema else {}
        self.history: dict = {"loss": []}
        self._window: dict[str, list[torch.Tensor]] = {}
        shapes = {n: list(p.shape) for n, p in self.parameters.items()}
        self.recipe = json.dumps([name, asdict(plan), weight_decay, ema, muon, seed, shapes])

    def __iter__(self) -> Iterator[Step]:
        (first, seconds), plan, saved = self._resume(), self.plan, time.time()
        begun, numbers = saved - seconds, range(first, plan.steps)
        bar = tqdm(numbers, desc=self.name, initial=first, total=plan.steps, mininterval=5, leave=False)
        for number in bar:
            torch.manual_seed(step_seed(self.seed, number))
            step = Step(number, self.seed, plan.batch)
            with autocast():
                yield step
            self._update(step)
            if number % 20 == 0 and self.history["loss"]:
                bar.set_postfix(loss=f"{self.history['loss'][-1]:.3f}")
            if time.time() - saved > SAVE_EVERY and number + 1 < plan.steps:
                self._save(number + 1, time.time() - begun)
                saved = time.time()
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(self.average.get(name, p)).requires_grad_(False)
        self.checkpoint.unlink(missing_ok=True)
        self.history |= {"seconds": time.time() - begun, "steps": plan.steps}

    def _update(self, step: Step) -> None:
        for group in (group for one in self.optimizers for group in one.param_groups):
            group["lr"] = self.plan.lr * schedule(step.number, self.plan)
        step.parts["loss"].backward()
        nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        for one in self.optimizers:
            one.step()
            one.zero_grad(set_to_none=True)
        if self.ema:  # average <- d * average + (1 - d) * weight
            decay = min(self.ema, (1 + step.number) / (10 + step.number))
            weights = [p.detach() for p in self.parameters.values()]
            torch._foreach_lerp_(list(self.average.values()), weights, 1 - decay)
        for key, value in step.parts.items():
            self._window.setdefault(key, []).append(value.detach())
        if (step.number + 1) % 10 == 0 or step.number + 1 == self.plan.steps:
            for key, values in self._values().items():  # the one place that waits for the device
                self.history.setdefault(key, []).append(sum(values) / len(values))
            self._window = {}

    def _values(self) -> dict[str, list[float]]:
        return {key: [float(value) for value in values] for key, values in self._window.items()}

    def _save(self, step: int, seconds: float) -> None:
        """Write a checkpoint in place of the last one, whole or not at all."""
        tensors = {f"weight/{n}": p for n, p in self.parameters.items()}
        tensors |= {f"ema/{n}": value for n, value in self.average.items()}
        states = [(f"{k}/{i}", s) for k, o in enumerate(self.optimizers) for i, s in o.state_dict()["state"].items()]
        tensors |= {f"state/{place}/{slot}": value for place, state in states for slot, value in state.items()}
        about = {"step": step, "seconds": seconds, "history": self.history, "window": self._values()}
        part = self.checkpoint.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        tensors = {key: value.detach().contiguous() for key, value in tensors.items()}
        save_file(tensors, part, {"about": json.dumps(about), "recipe": self.recipe})
        os.replace(part, self.checkpoint)

    def _resume(self) -> tuple[int, float]:
        """Load the checkpoint, if there is one of this very run: the step to go on from, and the seconds until there.

        Everything goes to the device of its parameter: a fused optimizer refuses state that lies elsewhere.
        """
        if not self.checkpoint.exists():
            return 0, 0.0
        try:
            with safe_open(self.checkpoint, "pt") as file:
                stated, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as reason:
            warnings.warn(f"The checkpoint of '{self.name}' is damaged ({reason}): it starts over.", stacklevel=3)
            return 0, 0.0
        if stated["recipe"] != self.recipe:
            return 0, 0.0
        states = [one.state_dict() for one in self.optimizers]
        with torch.no_grad():
            for key, value in tensors.items():
                kind, _, name = key.partition("/")
                if kind == "state":
                    k, i, slot = name.split("/")
                    states[int(k)]["state"].setdefault(int(i), {})[slot] = value
                else:
                    (self.parameters if kind == "weight" else self.average)[name].copy_(value)
        for one, state in zip(self.optimizers, states):
            one.load_state_dict(state)
        about = json.loads(stated["about"])
        self.history, self._window = about["history"], about["window"]
        return about["step"], about["seconds"]
