"""A GPU without one: each training takes a step on `meta`, where no value can be asked for and no CPU tensor may join.

What would have to wait for a GPU cannot be done there, and what lies on another device than its partner raises.
"""

from dataclasses import replace

import pytest
import tiny
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from uniecg_lite import llm, stages, training
from uniecg_lite.checkpoints import new_codec, new_encoders
from uniecg_lite.diagecg import diagecg_stages
from uniecg_lite.diagecg.diagecg_model import DiagECG
from uniecg_lite.encoders import FactProbes, targets
from uniecg_lite.generator import generator_stages as making
from uniecg_lite.generator.event_plan import PLAN as DRAWN
from uniecg_lite.generator.event_plan import templates
from uniecg_lite.generator.text_encoder import TextEncoder
from uniecg_lite.generator.vae import LATENT, VAE
from uniecg_lite.metrics.reader import Reader, facts_loss
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.studies import systems

PLAN = replace(tiny.PLAN, steps=1)


class OneDevice(TorchDispatchMode):
    """As CUDA does, refuse an operation of tensors on two devices; copies, places and single numbers may be mixed."""

    MAY = ("aten::_to_copy", "aten::copy_", "aten::index", "aten::index_put_", "aten::_index_put_impl_")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        met = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if len({x.device.type for x in met if x.dim()}) > 1 and func.name().split(".")[0] not in self.MAY:
            raise RuntimeError(f"{func} meets tensors of two devices")
        return func(*args, **(kwargs or {}))


# ---- the trainings: each says what is trained, and on what, before plan, seed and folder; `put` moves to the device -
def encoders(put):
    """Notebook 02's loop."""
    words, width, cohort, coca = (
        tiny.tokenizer(),
        tiny.PROFILE.enc_width,
        tiny.Patients(),
        tiny.defined_in("02_encoders"),
    )
    ids, facts = coca.report_ids(words, tiny.corpus().reports), targets(cohort.truth())
    phi_s, phi_v = new_encoders(tiny.PROFILE)
    probes = nn.ModuleList(FactProbes(width) for _ in range(2))
    parts = nn.ModuleDict(
        {"phi_s": phi_s, "phi_v": phi_v, "captioner": coca.Captioner(len(words), width), "probes": probes}
    )

    def train(parts, plan, seed, folder):
        for step in training.TrainingLoop(parts, plan, seed, folder):
            rows = step.rows(len(cohort))
            mine, signal = {name: value[rows] for name, value in facts.items()}, cohort.signal(rows).to("meta")
            step.learn(**coca.encoder_loss(parts, signal, ids[rows], mine, words.pad_token_id, step.number))

    return train, put(parts)


def language(put):
    return tiny.pretrain, put(tiny.reading_model()), tiny.corpus()


def reading(stage):
    def train(model, corpus, cached, plan, seed, folder):
        systems.train_reading(model, corpus, cached, {stage: plan}, seed, folder)

    def what(put):
        model, n = tiny.reading_model(), len(tiny.Patients())
        signal, image = (torch.randn(n, phi.tokens, phi.width).half() for phi in (model.phi_s, model.phi_v))
        return train, put(model), tiny.corpus(), stages.CachedTokens(signal, image)

    return what


def ecg_tokens(put):
    model = tiny.reading_model()
    model.add_ecg_tokens(tiny.PROFILE.ecg_tokens)
    return systems.train_tokens, put(model), tiny.corpus()


def mapper(put):
    model = put(tiny.whole_model())
    return tiny.align_mapper, model, tiny.corpus()


def part_of_generator(train, name):
    """A part, what it learns of each ECG, which lies on the host, and conditions, which lie on the device."""

    def what(put):
        part = getattr(tiny.generator(), name).requires_grad_(True)
        known = tiny.few_hearts()[1] if name == "rhythm" else templates(*tiny.few_hearts())
        return train, put(part), known, put(torch.randn(40, 128))

    return what


def denoiser(put):
    generator = put(tiny.generator())
    generator.denoiser.requires_grad_(True)
    material = put(torch.randn(40, *LATENT)), torch.randn(40, DRAWN, LATENT[1])
    return making.train_denoiser, generator, material, tiny.corpus()


def reader(put):
    def train(net, plan, seed, folder):
        for step in training.TrainingLoop({"reader": net}, plan, seed, folder):
            signal, table = map(put, tiny.defined_in("06_diffusets").fresh_patients(step.number, plan.batch, seed))
            step.learn(facts_loss(net(signal), table))

    return train, put(Reader(8))


def fsq_tokenizer(put):
    return diagecg_stages.train_tokenizer, put(new_codec(tiny.PROFILE, facts=None)), tiny.Patients()


def diagecg(train, *more):
    def what(put):
        words = tiny.tokenizer()
        model = DiagECG(llm.pocket_llm(tiny.PROFILE, words), words, new_codec(tiny.PROFILE))
        model.adapt(tiny.PROFILE.diag_rank)
        return train, put(model), *(each() for each in more), torch.randint(0, 125, (len(tiny.Patients()), 40)).short()

    return what


STAGE1, TUNING = reading("stage1"), diagecg(diagecg_stages.tune, tiny.corpus)
TRAININGS = {  # what trains, and draws that are decided beforehand
    "encoders": (encoders, {}),
    "pre-training, notes": (language, {"ASK_NOTES": 1}),
    "pre-training, text": (language, {"ASK_NOTES": 0}),
    "alignment": (reading("alignment"), {}),
    "stage 1, reports": (STAGE1, {"NOT_AN_ECG": 0, "ASK": 0}),
    "stage 1, single": (STAGE1, {"NOT_AN_ECG": 0, "ASK": 1, "COMPARE": 0}),
    "stage 1, comparison": (STAGE1, {"NOT_AN_ECG": 0, "ASK": 1, "COMPARE": 1}),
    "stage 1, text": (STAGE1, {"NOT_AN_ECG": 1}),
    "[ECG] tokens": (ecg_tokens, {}),
    "mapper": (mapper, {}),
    "VAE": (lambda put: (making.train_vae, put(VAE(16)), tiny.clean_few()), {}),
    "text encoder": (lambda put: (tiny.train_text_encoder, put(TextEncoder(tiny.tokenizer())), tiny.corpus()), {}),
    "event model": (part_of_generator(tiny.train_rhythm, "rhythm"), {}),
    "templates": (part_of_generator(tiny.train_templates, "templates"), {}),
    "denoiser": (denoiser, {}),
    "reader": (reader, {}),
    "FSQ tokenizer": (fsq_tokenizer, {}),
    "fact tokens": (lambda put: (tiny.train_facts, put(new_codec(tiny.PROFILE)).facts, tiny.Patients()), {}),
    "forecasting": (diagecg(diagecg_stages.forecast), {}),
    "tuning, reports": (TUNING, {"ASK": 0}),
    "tuning, single": (TUNING, {"ASK": 1, "COMPARE": 0}),
    "tuning, comparison": (TUNING, {"ASK": 1, "COMPARE": 1}),
}


def put(what, but: int = 0):
    """A module or a tensor to `meta`; parameters that two layers share stay one. The first `but` stay on the CPU."""
    if not isinstance(what, nn.Module):
        return what.to("meta")
    moved = {p: nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in list(what.parameters())[but:]}
    for module in what.modules():
        module._parameters |= {name: moved.get(p, p) for name, p in module._parameters.items()}
        module._buffers |= {name: b if b is None else b.to("meta") for name, b in module._buffers.items()}
    return what


def take_a_step(name: str, folder, monkeypatch, put=put) -> None:
    """One step of a training on `meta`: batch, forward, backward, clipping and optimizer."""
    what, decided = TRAININGS[name]
    for module in (stages, diagecg_stages):
        for constant, value in decided.items():
            monkeypatch.setattr(module, constant, value, raising=False)
    update, losses = training.TrainingLoop._update, []

    def checked(loop, step):
        losses.append(step.parts["loss"])
        assert losses[0].device.type == "meta" and losses[0].dtype == torch.float32
        update(loop, step)
        for one in loop.optimizers:
            assert all(x.device == p.device for p, state in one.state.items() for x in state.values() if x.dim())

    monkeypatch.setattr(training.TrainingLoop, "_update", checked)
    monkeypatch.setattr(training.TrainingLoop, "_values", lambda loop: {})  # the one place that waits for the device
    train, *given = what(put)
    with OneDevice():
        train(*given, PLAN, 0, folder)
    assert len(losses) == PLAN.steps


@pytest.mark.parametrize("name", TRAININGS)
def test_a_step_of_every_training_stays_on_the_device_and_waits_for_nothing(name, tmp_path, monkeypatch):
    take_a_step(name, tmp_path, monkeypatch)


FAULTS = {  # what a line too many in any module would do
    "item": lambda x: x.sum().item(),
    "branch": lambda x: 0 if x.sum() > 0 else 1,
    "boolean places": lambda x: x[x > 0],
    "cpu": lambda x: x.cpu(),
    "cpu weight": lambda x: x + torch.ones(x.shape[-1]),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["VAE", "stage 1, text"])
def test_an_inserted_fault_is_found(name, fault, tmp_path, monkeypatch):
    def at_fault(module, given, out):
        if isinstance(out, torch.Tensor):
            FAULTS[fault](out)

    hook = nn.modules.module.register_module_forward_hook(at_fault)
    try:
        with pytest.raises((RuntimeError, NotImplementedError), match="meta|two devices"):
            take_a_step(name, tmp_path, monkeypatch)
    finally:
        hook.remove()


@pytest.mark.parametrize("name", ["encoders", "templates", "reader", "FSQ tokenizer", "alignment"])
def test_a_weight_left_on_the_cpu_is_found(name, tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="two devices|same device"):
        take_a_step(name, tmp_path, monkeypatch, lambda what: put(what, but=1))


# ---- reloading, precision, attention --------------------------------------------------------------------------------
@pytest.mark.parametrize("muon", [False, True], ids=["adamw", "muon"])
def test_after_a_reload_every_state_lies_with_its_parameter(muon, tmp_path):
    def loop(net):
        return training.TrainingLoop({"net": net}, replace(PLAN, steps=9), 0, tmp_path, ema=0.9, muon=muon)

    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    first = loop(net)
    for step in first:
        step.learn(net(torch.ones(2, 3)).square().mean())
        if step.number == 4:
            break
    first._save(4, 0.0)
    again = loop(put(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))))
    assert again._resume() == (4, 0.0)
    for name, p in again.parameters.items():
        states = [owner.state[x] for run, x in ((first, first.parameters[name]), (again, p)) for owner in run.optimizers
                  if x in owner.state]  # fmt: skip
        assert len(states) == 2 and states[0].keys() == states[1].keys() != set()
        moved = [value for slot, value in states[1].items() if slot != "step"]  # only a fused optimizer moves this one
        assert {x.device.type for x in (p, again.average[name], *moved)} == {"meta"}


def pretend(monkeypatch, capability: tuple[int, int]) -> None:
    """A CUDA device, as far as asking for one goes."""
    for name, value in (
        ("is_available", True),
        ("get_device_name", "Pretended"),
        ("get_device_capability", capability),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)  # emulated, before 8.0


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (9, 0)])
def test_bf16_where_the_hardware_multiplies_it_in_training_and_inference(capability, monkeypatch):
    pretend(monkeypatch, capability)
    (device, dtype, why), fits = training.device_and_why(), capability >= (8, 0)
    assert device == "cuda" and dtype == (torch.bfloat16 if fits else torch.float32)
    assert "Pretended" in why and ("bf16 autocast" in why) == fits
    for place in (training.autocast(), training.inference()):
        with place:
            assert torch.is_autocast_enabled("cuda") == fits
            assert not fits or torch.get_autocast_dtype("cuda") == torch.bfloat16
    with training.inference():
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("unit", ["amx_bf16", "avx512_bf16", None])
def test_a_processor_that_multiplies_bfloat16_does(unit, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {unit: True})
    device, dtype, why = training.device_and_why()
    assert (device, dtype) == ("cpu", torch.bfloat16 if unit else torch.float32) and ("bf16 autocast" in why) == bool(
        unit
    )


def test_in_bfloat16_hearts_stay_the_same_and_tokens_are_handed_out_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    plain = simulate(3, torch.arange(4))
    with training.autocast():
        assert (plain.signal @ plain.signal.mT).dtype == torch.bfloat16, "what is around it is not"
        again = simulate(3, torch.arange(4))
    assert torch.equal(plain.signal, again.signal)
    assert all(torch.equal(plain.truth[name].nan_to_num(), value.nan_to_num()) for name, value in again.truth.items())
    model = tiny.reading_model()
    tokens = model.encode_ecg(plain.signal)[0]
    assert tokens.dtype == model.project(tokens, None).dtype == torch.float32
    cached = stages.CachedTokens.encode(model.phi_s, model.phi_v, tiny.Patients())
    assert cached.signal.dtype == torch.float16 and len(cached.signal) == len(tiny.Patients())


def test_attention_is_fused_on_cuda(monkeypatch):
    pretend(monkeypatch, (9, 0))
    assert tiny.pocket_llm(tiny.PROFILE, tiny.tokenizer()).config._attn_implementation == "sdpa"
