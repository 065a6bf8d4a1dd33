"""training: a killed run ends with the same numbers, bit by bit; averages, schedule and rows against hand sums."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from uniecg_lite import training
from uniecg_lite.config import Training
from uniecg_lite.encoders import transformer
from uniecg_lite.errors import BadArtifact
from uniecg_lite.muon import Muon
from uniecg_lite.training import Step, TrainingLoop, optimizers, rows_of, schedule

PLAN = Training(steps=60, batch=8, lr=1e-2, warmup=5)
VARIANTS = {
    "plain": {},
    "ema": {"ema": 0.9},
    "muon": {"ema": 0.95, "muon": True},
}
KILLED = ("ema",)  # by a signal, in a process of its own; every variant is stopped in this one
WAIT_AT = 37


def network() -> nn.Module:
    """A small network with dropout, so that torch's own random numbers matter too."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))


def train(folder, variant: str = "plain", plan: Training = PLAN, seed: int = 3, at_step=None, **more) -> tuple:
    """Fit a noisy line; returns (history, weights). `at_step(step)` is called before each step's loss."""
    net, options = network(), dict(VARIANTS[variant])
    table = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    answer = table.sum(1, keepdim=True).sin()

    loop = TrainingLoop({"net": net}, plan, seed, folder, "toy", **options, **more)
    for step in loop:
        if at_step:
            at_step(step.number)
        rows = step.rows(len(table))
        noise = 0.3 * torch.randn(len(rows), 6, generator=step.generator)
        error = (net.train()(table[rows] + noise) - answer[rows]).square().mean()
        step.learn(error, mse=error)
    return loop.history, {name: p.detach().clone() for name, p in net.named_parameters()}


def fit(net: nn.Module, loss, plan: Training, folder, **how) -> dict:
    """Train a network by `loss(step number)`; returns the history."""
    loop = TrainingLoop({"net": net}, plan, 0, folder, "toy", **how)
    for step in loop:
        step.learn(loss(step.number))
    return loop.history


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def child(folder: str, variant: str, out: str) -> None:
    """Train in a process of its own, checkpoint after every step, and stand still at one step until killed."""

    def stand_still(step):
        if step == WAIT_AT and not out:
            print("here", flush=True)
            sys.stdin.read()

    training.SAVE_EVERY = 0
    _, weights = train(folder, variant, at_step=stand_still)
    save_file(weights, out)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What runs left that were killed by SIGKILL in the middle: a folder by variant."""
    folders = {name: tmp_path_factory.mktemp(name) for name in KILLED}
    command = "import sys; sys.path.insert(0, {!r}); import conftest, test_training as t; t.child(*sys.argv[1:], '')"
    runs = {
        name: subprocess.Popen(
            [sys.executable, "-c", command.format(str(Path(__file__).parent)), str(folder), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, folder in folders.items()
    }
    for name, run in runs.items():
        assert run.stdout.readline() == "here\n", f"{name} ended early"
        assert (folders[name] / "checkpoint.safetensors").exists()
        run.kill()
        assert run.wait() == -9
        run.stdin.close()
        run.stdout.close()
    return folders


# --- resume


@pytest.mark.parametrize("variant", KILLED)
def test_a_killed_run_ends_with_the_same_weights(killed, variant, tmp_path):
    whole, weights = train(tmp_path, variant)
    steps = []
    resumed, resumed_weights = train(killed[variant], variant, at_step=steps.append)
    assert steps == list(range(WAIT_AT, PLAN.steps)), "it goes on where it stopped"
    assert same(weights, resumed_weights)
    for key in ("loss", "mse", "steps"):
        assert resumed[key] == whole[key], key
    assert not (killed[variant] / "checkpoint.safetensors").exists(), "a finished run leaves no checkpoint"


class Killed(Exception):
    """Stands in for the end of a process."""


@pytest.fixture(autouse=True)
def save_always(monkeypatch):
    """A checkpoint after every step."""
    monkeypatch.setattr(training, "SAVE_EVERY", -1)


def stopped(folder: Path, step: int, variant: str = "ema", **how) -> Path:
    """What is left of a run that ended at a step."""

    def stop(at):
        if at == step:
            raise Killed

    with pytest.raises(Killed):
        train(folder, variant, at_step=stop, **how)
    return folder / "checkpoint.safetensors"


def first_step(folder: Path, variant: str = "ema", **how) -> tuple[int, dict]:
    """The first step that a new run takes in this folder, and its final weights."""
    steps = []
    _, weights = train(folder, variant, at_step=steps.append, **how)
    return steps[0], weights


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("step", [1, 7, 14, 59])
def test_a_run_stopped_anywhere_ends_the_same(tmp_path, step, variant):
    _, whole = train(tmp_path / "whole", variant)
    stopped(tmp_path / "cut", step, variant)
    began, weights = first_step(tmp_path / "cut", variant)
    assert began == step and same(weights, whole)


def test_a_run_stopped_twice_ends_the_same(tmp_path):
    _, whole = train(tmp_path / "whole", "ema")
    stopped(tmp_path / "cut", 11)
    stopped(tmp_path / "cut", 30)
    began, weights = first_step(tmp_path / "cut")
    assert began == 30 and same(weights, whole)


def test_a_run_killed_while_it_writes_a_checkpoint_uses_the_last_one(tmp_path, monkeypatch):
    save = training.save_file

    def full(tensors, file, about):
        if json.loads(about["about"])["step"] == 21:
            Path(file).write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        save(tensors, file, about)

    monkeypatch.setattr(training, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        train(tmp_path / "cut", "ema")
    monkeypatch.setattr(training, "save_file", save)
    _, whole = train(tmp_path / "whole", "ema")
    began, weights = first_step(tmp_path / "cut")
    assert began == 20 and same(weights, whole)


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_a_torn_checkpoint_starts_over(tmp_path, keep):
    _, whole = train(tmp_path / "whole", "ema")
    place = stopped(tmp_path / "cut", 20)
    place.write_bytes(place.read_bytes()[:keep])
    with pytest.warns(UserWarning, match="damaged .*: it starts over"):
        began, weights = first_step(tmp_path / "cut")
    assert began == 0 and same(weights, whole)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"plan": replace(PLAN, lr=2e-2)},
        {"plan": replace(PLAN, batch=9)},
        {"plan": replace(PLAN, steps=50)},
        {"plan": replace(PLAN, warmup=9)},
        {"weight_decay": 0.5},
        {"variant": "muon"},
    ],
    ids=lambda change: "-".join(change),
)
def test_another_recipe_starts_over(tmp_path, change):
    stopped(tmp_path / "cut", 20, "plain")
    began, weights = first_step(tmp_path / "cut", **{"variant": "plain", **change})
    _, fresh = train(tmp_path / "fresh", **{"variant": "plain", **change})
    assert began == 0 and same(weights, fresh)


def test_a_checkpoint_holds_no_pickle_and_says_where_it_is(tmp_path):
    with safe_open(stopped(tmp_path, 9), "pt") as file:
        about, names = json.loads(file.metadata()["about"]), list(file.keys())
    assert about["step"] == 9 and {key.split("/")[0] for key in names} == {"weight", "state", "ema"}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_checkpoints_are_written_as_often_as_asked(tmp_path, monkeypatch):
    clock = iter(range(0, 100_000, 10))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    saved = []
    monkeypatch.setattr(training, "SAVE_EVERY", 1000)
    train(tmp_path, at_step=lambda step: saved.append((tmp_path / "checkpoint.safetensors").exists()))
    assert not any(saved)
    monkeypatch.setattr(training, "SAVE_EVERY", 5)
    train(tmp_path, at_step=lambda step: saved.append((tmp_path / "checkpoint.safetensors").exists()))
    assert all(saved[PLAN.steps + 1 :])


# --- what training does


def test_training_is_the_same_twice_and_another_with_another_seed(tmp_path):
    first, again, other = (train(tmp_path / str(i), seed=seed)[1] for i, seed in enumerate((3, 3, 4)))
    assert same(first, again) and not same(first, other)


def test_the_loss_falls(tmp_path):
    history, _ = train(tmp_path, plan=replace(PLAN, steps=200))
    assert history["loss"][-1] < 0.6 * history["loss"][0] and len(history["loss"]) == 20


def test_history_is_the_mean_over_ten_steps(tmp_path):
    net, seen = network(), []

    def loss(step):
        value = net(torch.ones(2, 6)).square().mean() + step
        seen.append(value.item())
        return value

    history = fit(net, loss, Training(25, 2, 1e-3), tmp_path)
    expected = [sum(part) / len(part) for part in (seen[:10], seen[10:20], seen[20:])]
    assert history["loss"] == pytest.approx(expected)


def test_frozen_parameters_stay_and_nothing_to_train_is_refused(tmp_path):
    net = network()
    net[0].requires_grad_(False)
    before = {name: p.clone() for name, p in net.named_parameters()}
    fit(net, lambda step: net(torch.ones(2, 6)).mean(), Training(3, 2, 1e-2), tmp_path)
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"3.weight", "3.bias"}
    net.requires_grad_(False)
    with pytest.raises(BadArtifact, match="Nothing trains in 'toy'"):
        fit(net, None, PLAN, tmp_path)


def test_the_average_is_left_in_the_modules(tmp_path):
    net, averages = network(), None

    def loss(step):
        nonlocal averages
        now = [p.detach().clone() for p in net.parameters()]
        if step == 0:
            averages = now
        else:
            decay = min(0.8, step / (9 + step))  # the update after step - 1
            averages = [decay * a + (1 - decay) * p for a, p in zip(averages, now)]
        return (net(torch.ones(4, 6)) - 3).square().mean()

    plan = Training(30, 4, 1e-2, 2)
    fit(net, loss, plan, tmp_path / "ema", ema=0.8)
    after = [p.detach().clone() for p in net.parameters()]
    other = network()
    fit(other, lambda step: (other(torch.ones(4, 6)) - 3).square().mean(), plan, tmp_path / "plain")
    decay = min(0.8, 30 / 39)
    for average, last, left in zip(averages, other.parameters(), after):
        torch.testing.assert_close(left, decay * average + (1 - decay) * last, atol=1e-6, rtol=1e-4)


def test_fit_takes_the_steps_of_adamw_with_the_schedule_and_clipping(tmp_path):
    """Against a plain loop in double precision."""
    rng, plan = torch.Generator().manual_seed(0), Training(40, 4, 3e-2, warmup=5)
    start, table = torch.randn(5, 3, generator=rng).double(), torch.randn(40, 4, 5, generator=rng).double()

    class Matrix(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(start.clone())
            self.offset = nn.Parameter(torch.zeros(3).double())

        def loss(self, step):
            return (table[step] @ self.weight + self.offset - 1).pow(4).sum()

    mine, theirs = Matrix(), Matrix()
    with torch.autocast("cpu", enabled=False):
        groups = [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.offset], "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), foreach=False)
        for step in range(plan.steps):
            for group in optimizer.param_groups:
                group["lr"] = 3e-2 * schedule(step, plan)
            optimizer.zero_grad()
            theirs.loss(step).backward()
            size = torch.cat([p.grad.flatten() for p in theirs.parameters()]).norm()
            for p in theirs.parameters():
                p.grad.mul_(min(1.0, 1.0 / (size.item() + 1e-6)))
            optimizer.step()

    def loss(step):
        with torch.autocast("cpu", enabled=False):
            return mine.loss(step)

    fit(mine, loss, plan, tmp_path, weight_decay=0.1)
    torch.testing.assert_close(mine.weight, theirs.weight, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(mine.offset, theirs.offset, atol=1e-7, rtol=1e-6)
    assert (mine.weight - start).abs().max() > 0.1


# --- schedule and rows


def test_schedule_warms_up_and_ends_low():
    plan = Training(1000, 8, 1.0, warmup=50)
    values = [schedule(step, plan) for step in range(1000)]
    assert values[0] == pytest.approx(1 / 50) and values[49] == values[50] == 1
    assert values[999] == pytest.approx(0.02, abs=1e-4) and min(values) >= 0.02 - 1e-9
    assert values[525] == pytest.approx(0.51, abs=1e-3), "half way down a cosine"
    assert all(a >= b for a, b in zip(values[50:], values[51:]))


@pytest.mark.parametrize(("total", "batch"), [(50, 8), (7, 3), (64, 64), (5, 12)])
def test_each_epoch_sees_each_row_once(total, batch):
    stream = torch.cat([rows_of(step, 2, batch, total) for step in range(10 * total // batch + 1)])
    epochs = stream[: 10 * total].view(10, total)
    assert torch.equal(epochs.sort(1).values, torch.arange(total).expand(10, total))
    assert len({tuple(row.tolist()) for row in epochs}) > 8, "every epoch in another order"


def test_rows_depend_on_seed_and_step_alone():
    assert torch.equal(rows_of(5, 1, 8, 100), rows_of(5, 1, 8, 100))
    assert not torch.equal(rows_of(5, 1, 8, 100), rows_of(5, 2, 8, 100))


def test_random_numbers_of_a_step_belong_to_it():
    draw = {
        (seed, step): torch.rand(4, generator=Step(step, seed, 1).generator) for seed in (0, 1) for step in (0, 1, 2)
    }
    assert torch.equal(draw[1, 2], torch.rand(4, generator=Step(2, 1, 1).generator))
    assert len({tuple(values.tolist()) for values in draw.values()}) == 6


def test_muon_moves_matrices_of_linear_layers_alone():
    net = nn.ModuleDict({"table": nn.Embedding(7, 6), "inner": nn.Linear(6, 6), "lm_head": nn.Linear(6, 7, bias=False)})
    adam, muon = optimizers({"net": net}, PLAN, 0.0, muon=True)
    assert [p is net["inner"].weight for group in muon.param_groups for p in group["params"]] == [True]
    assert sum(len(group["params"]) for group in adam.param_groups) == 3, "table, output layer and bias"
    (all_adam,) = optimizers({"net": net}, PLAN, 0.0, muon=False)
    assert sum(len(group["params"]) for group in all_adam.param_groups) == 4
    before = net["inner"].weight.detach().clone()
    net["inner"](torch.randn(9, 6)).square().sum().backward()
    muon.step()
    step = net["inner"].weight.detach() - before  # every direction moves alike
    sizes = torch.linalg.svdvals(step)
    assert sizes.min() > 0.4 * sizes.max()


def test_muon_steps_as_torchs_does_in_its_bfloat16_and_leaves_out_what_has_no_gradient():
    torch.manual_seed(0)
    shapes = [(24, 24), (24, 24), (40, 16), (16, 40), (8, 12)]
    begun = [torch.randn(shape) for shape in shapes]
    mine, theirs = ([nn.Parameter(x.clone()) for x in begun] for _ in range(2))
    ours = Muon(mine, 0.1, 0.01)
    reference = torch.optim.Muon(theirs, 0.1, 0.01, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for p, q in zip(mine[:-1], theirs[:-1]):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        ours.step(), reference.step()
    for p, q, first in zip(mine[:-1], theirs, begun):
        assert (p - q).norm() < 0.03 * (p - first).norm(), "bfloat16 is as near as that"
    assert torch.equal(mine[-1], begun[-1]), "alone of its shape, and without a gradient"


def test_attention_that_is_not_fused_computes_the_same():
    layer, x = transformer(16, 1), torch.randn(2, 5, 16)
    own, fused = layer(x), nn.TransformerEncoder.forward(layer, x)
    torch.testing.assert_close(own, fused)
    chosen = []
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients), training.unfused():
            chosen.append(torch.backends.cuda.flash_sdp_enabled())
    assert chosen == [torch.cuda.is_available(), True] and torch.backends.cuda.flash_sdp_enabled()
