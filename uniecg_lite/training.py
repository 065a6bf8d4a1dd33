"""The one training loop: seeded step by step, checkpointed, resumable to the same numbers."""

import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm.auto import tqdm
from transformers.utils import logging

from .config import Training
from .errors import BadArtifact


def device_and_why() -> tuple[str, str, str]:
    """(device, precision for accelerate, the reason in words)."""
    if torch.cuda.is_available():
        return "cuda", "bf16", f"CUDA device {torch.cuda.get_device_name()} found, bf16 autocast"
    threads = torch.get_num_threads()
    if torch.cpu._is_amx_tile_supported():
        return "cpu", "bf16", f"no CUDA device; {threads} CPU threads with bf16 matrix units (AMX), bf16 autocast"
    return "cpu", "no", f"no CUDA device; {threads} CPU threads without bf16 matrix units, float32"


def quiet_libraries() -> None:
    """Silence what libraries say about themselves: two warnings and the bars of weight loading."""
    for noise in ("enable_nested_tensor", "`is_gradient_checkpointing`"):
        warnings.filterwarnings("ignore", message=noise)
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def accelerator() -> Accelerator:
    """The accelerator of this machine (see `device_and_why`)."""
    device, precision, _ = device_and_why()
    return Accelerator(cpu=device == "cpu", mixed_precision=precision)


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step. They depend on seed and step alone, so a resumed run draws the same."""
    return torch.Generator().manual_seed(1_000_003 * (seed + 1) + step)


def rows_of(step: int, seed: int, batch: int, total: int) -> torch.Tensor:
    """(batch,) rows of this step: every epoch is a fresh permutation of all rows, seen once each."""
    places = torch.arange(step * batch, (step + 1) * batch)
    epochs = (places // total).tolist()
    order = {
        e: torch.randperm(total, generator=torch.Generator().manual_seed(7919 * (seed + 1) + e)) for e in set(epochs)
    }
    return torch.stack([order[e][p % total] for e, p in zip(epochs, places.tolist())])


class EMA:
    """Exponential moving average of weights: average <- d * average + (1 - d) * weight (Polyak averaging)."""

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float):
        self.decay = decay
        self.average = {name: p.detach().clone() for name, p in parameters.items()}

    def update(self, parameters: dict[str, nn.Parameter], step: int) -> None:
        """One step; the decay warms up, so that the first weights are soon forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in parameters.values()], 1 - decay)


def fit(
    name: str,
    modules: dict[str, nn.Module],
    loss: Callable[[int, torch.Generator], torch.Tensor],
    plan: Training,
    *,
    seed: int,
    folder: str | Path,
    weight_decay: float = 0.01,
    ema: float | None = None,
    muon: bool = False,
    validate: Callable[[], float] | None = None,
    validate_every: int = 0,
    save_every: float = 30.0,
) -> dict:
    """Train every parameter of `modules` that requires a gradient.

    Args:
        name: shown on the progress bar.
        modules: what trains, by name.
        loss: (step, generator) -> scalar loss; may return a dict with "loss" and more scalars to record.
        plan: steps, batch, lr, warmup.
        seed: with the step number the only source of randomness.
        folder: where checkpoints go; a killed run continues from the last one and ends with the same numbers.
        weight_decay: AdamW's, on matrices only.
        ema: decay of the moving average that is left in the modules at the end; None for the plain weights.
        muon: matrices of linear layers learn by Muon in place of AdamW, see `optimizers`.
        validate: a score on validation data, lower is better; the best weights seen are left in the modules.
        validate_every: in steps; 0 to validate at the end only.
        save_every: seconds between checkpoints.

    Returns:
        {"loss": [...], "validation": [[step, score], ...], "seconds": s, "steps": n}, loss averaged over 10 steps.
    """
    run = _Run(name, modules, plan, seed, Path(folder), weight_decay, ema, muon)
    first = run.resume()
    worker = accelerator()
    begun, saved = time.time(), time.time()
    bar = tqdm(range(first, plan.steps), desc=name, initial=first, total=plan.steps, mininterval=5, leave=False)
    for step in bar:
        torch.manual_seed(1_000_003 * (seed + 1) + step)
        with worker.autocast():
            value = loss(step, step_generator(seed, step))
        parts = value if isinstance(value, dict) else {"loss": value}
        run.update(step, parts["loss"], worker)
        run.record(step, parts)
        if validate and ((validate_every and (step + 1) % validate_every == 0) or step + 1 == plan.steps):
            run.keep_best(step, validate)
        if step % 20 == 0:
            bar.set_postfix(loss=f"{run.history['loss'][-1]:.3f}" if run.history["loss"] else "")
        if time.time() - saved > save_every and step + 1 < plan.steps:
            run.save(step + 1, run.seconds + time.time() - begun)
            saved = time.time()
    run.finish(validate is not None)
    return {**run.history, "seconds": run.seconds + time.time() - begun, "steps": plan.steps}


def optimizers(
    modules: dict[str, nn.Module], plan: Training, weight_decay: float, muon: bool
) -> list[torch.optim.Optimizer]:
    """AdamW for all that trains; with `muon`, Muon for the matrices of linear layers, and AdamW for the rest.

    Muon (Jordan et al. 2024; for language models Liu et al., arXiv 2502.16982) turns a step into an orthogonal matrix:
    every direction moves alike, also those that few examples show. Word tables and the output layer that goes with
    them are not for it. Its steps are scaled to AdamW's, so that one learning rate fits both.
    """
    linear, rest = [], []
    layers = [(name, m) for module in modules.values() for name, m in module.named_modules()]
    inner = {id(m.weight) for name, m in layers if isinstance(m, nn.Linear) and "lm_head" not in name}
    inner -= {id(m.weight) for _, m in layers if isinstance(m, nn.Embedding)}  # a table may be the output layer, too
    every = {id(p): p for module in modules.values() for p in module.parameters() if p.requires_grad}
    for p in every.values():
        (linear if muon and id(p) in inner else rest).append(p)
    matrices, vectors = [p for p in rest if p.dim() > 1], [p for p in rest if p.dim() <= 1]
    groups = [{"params": g, "weight_decay": w} for g, w in ((matrices, weight_decay), (vectors, 0.0)) if g]
    built = [torch.optim.AdamW(groups, lr=plan.lr, betas=(0.9, 0.98), fused=True)] if groups else []
    scale = "match_rms_adamw"
    return built + ([torch.optim.Muon(linear, plan.lr, weight_decay, adjust_lr_fn=scale)] if linear else [])


class _Run:
    """The state of one training: weights, optimizers, average, best weights, history."""

    def __init__(self, name, modules, plan, seed, folder, weight_decay, ema, muon):
        self.name, self.plan, self.folder, self.seconds = name, plan, folder, 0.0
        self.parameters = {
            f"{m}.{n}": p for m, module in modules.items() for n, p in module.named_parameters() if p.requires_grad
        }
        if not self.parameters:
            raise BadArtifact(f"Nothing trains in '{name}': every parameter is frozen.")
        self.optimizers = optimizers(modules, plan, weight_decay, muon)
        self.ema = EMA(self.parameters, ema) if ema else None
        self.best: dict[str, torch.Tensor] = {}
        self.history = {"loss": [], "validation": []}
        self._window: dict[str, list[float]] = {}
        self.recipe = {
            "name": name,
            "steps": plan.steps,
            "batch": plan.batch,
            "lr": plan.lr,
            "warmup": plan.warmup,
            "weight_decay": weight_decay,
            "ema": ema,
            "muon": muon,
            "seed": seed,
            "parameters": {n: list(p.shape) for n, p in self.parameters.items()},
        }

    def update(self, step: int, loss: torch.Tensor, worker: Accelerator) -> None:
        for group in (group for one in self.optimizers for group in one.param_groups):
            group["lr"] = self.plan.lr * schedule(step, self.plan)
        worker.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        for one in self.optimizers:
            one.step()
            one.zero_grad(set_to_none=True)
        if self.ema:
            self.ema.update(self.parameters, step)

    def _owner(self, p: nn.Parameter) -> torch.optim.Optimizer:
        return next(o for o in self.optimizers for group in o.param_groups if any(p is q for q in group["params"]))

    def record(self, step: int, parts: dict) -> None:
        for key, value in parts.items():
            self._window.setdefault(key, []).append(float(value.detach() if torch.is_tensor(value) else value))
        if (step + 1) % 10 == 0 or step + 1 == self.plan.steps:
            for key, values in self._window.items():
                self.history.setdefault(key, []).append(sum(values) / len(values))
            self._window = {}

    def keep_best(self, step: int, validate: Callable[[], float]) -> None:
        with torch.no_grad(), self._averaged():
            score = float(validate())
            if not self.history["validation"] or score < min(s for _, s in self.history["validation"]):
                self.best = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.history["validation"].append([step + 1, score])

    def _averaged(self):
        return _Swapped(self.parameters, self.ema.average if self.ema else None)

    def finish(self, chosen: bool) -> None:
        final = self.best if chosen and self.best else self.ema.average if self.ema else {}
        with torch.no_grad():
            for name, value in final.items():
                self.parameters[name].copy_(value)
        shutil.rmtree(self.folder / "checkpoint", ignore_errors=True)

    def save(self, step: int, seconds: float) -> None:
        """Write a checkpoint beside the last one, then swap them."""
        tensors = {f"weight/{n}": p.detach() for n, p in self.parameters.items()}
        for name, p in self.parameters.items():
            tensors |= {f"state/{key}/{name}": value for key, value in self._owner(p).state[p].items()}
        for kind, group in (("ema", self.ema.average if self.ema else {}), ("best", self.best)):
            tensors |= {f"{kind}/{n}": v for n, v in group.items()}
        room, place = self.folder / "checkpoint.part", self.folder / "checkpoint"
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(parents=True)
        save_file({k: v.contiguous() for k, v in tensors.items()}, room / "state.safetensors")
        (room / "state.json").write_text(
            json.dumps(
                {
                    "step": step,
                    "seconds": seconds,
                    "history": self.history,
                    "window": self._window,
                    "recipe": self.recipe,
                }
            )
        )
        shutil.rmtree(place, ignore_errors=True)
        os.replace(room, place)

    def resume(self) -> int:
        """Load the checkpoint, if there is one of this very run; returns the step to go on from."""
        place = self.folder / "checkpoint"
        if not (place / "state.json").exists():
            place = self.folder / "checkpoint.part"  # killed between removing the old and naming the new
        try:
            state = json.loads((place / "state.json").read_text())
            tensors = load_file(place / "state.safetensors")
        except (OSError, ValueError, SafetensorError):
            return 0
        if state["recipe"] != self.recipe:
            return 0
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(tensors[f"weight/{name}"])
                keys = [k for k in tensors if k.startswith("state/") and k.split("/", 2)[2] == name]
                self._owner(p).state[p] = {
                    k.split("/")[1]: tensors[k].to("cpu" if "step" in k else p.device) for k in keys
                }
        if self.ema:
            self.ema.average = {n: tensors[f"ema/{n}"].to(p.device) for n, p in self.parameters.items()}
        self.best = {k[5:]: v for k, v in tensors.items() if k.startswith("best/")}
        self.history, self._window, self.seconds = state["history"], state["window"], state["seconds"]
        return state["step"]


class _Swapped:
    """Within the block the parameters hold other values (or their own, when there are none)."""

    def __init__(self, parameters, values):
        self.parameters, self.values = parameters, values

    def __enter__(self):
        if self.values:
            self.kept = {n: p.detach().clone() for n, p in self.parameters.items()}
            for name, p in self.parameters.items():
                p.copy_(self.values[name])

    def __exit__(self, *_):
        if self.values:
            for name, p in self.parameters.items():
                p.copy_(self.kept[name])


def schedule(step: int, plan: Training) -> float:
    """Linear warm-up, then a cosine down to 2% of the learning rate."""
    if step < plan.warmup:
        return (step + 1) / plan.warmup
    share = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))
