"""unified: what is spliced, what is learned and by whom, batches equal to single prompts, and other language models."""

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from uniecg_lite import UniECG
from uniecg_lite.checkpoints import load_reading, new_encoders
from uniecg_lite.config import profile
from uniecg_lite.drawing import save_page
from uniecg_lite.ecg import ECG
from uniecg_lite.ecg_image import raster
from uniecg_lite.errors import BadArtifact, BadECG, BadRequest
from uniecg_lite.generator.generator import Generator
from uniecg_lite.language.conversations import WANTED
from uniecg_lite.language.requests import FORM, Request
from uniecg_lite.language.tokenizer import encode
from uniecg_lite.llm import FILLED, IGNORED, load_llm, pocket_llm
from uniecg_lite.model import Answer, tokens_per_ecg
from uniecg_lite.stages import ALIKE, SHOWN_EVERY, CachedTokens, Collator, alike, read_wishes
from uniecg_lite.studies.systems import train_reading, train_tokens
from uniecg_lite.training import Step

PROMPTS = [
    "Interpret this ECG.",
    "What do you see?",
    "Make an ECG: 63-year-old woman, atrial fibrillation, 120 bpm",
    "I need a report for this ECG.",
    "What is left ventricular hypertrophy?",
]


@pytest.fixture(scope="module")
def model():
    return tiny.reading_model()


@pytest.fixture(scope="module")
def whole():
    return tiny.whole_model()


@pytest.fixture(scope="module")
def views(model):
    signal = tiny.patients().signal
    return CachedTokens(*(tokens.half() for tokens in model.encode_ecg(signal, raster(signal))))


def ecg_tokens(model, n: int, seed: int = 0):
    """Random tokens as the two encoders would give them."""
    generator = torch.Generator().manual_seed(seed)
    width = model.w_ts.weight.shape[1]
    return tuple(torch.randn(n, part.tokens, width, generator=generator) for part in (model.phi_s, model.phi_v))


def weights(module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def changed(module, before: dict) -> set[str]:
    return {name for name, p in module.named_parameters() if not torch.equal(p.detach(), before[name])}


# --- what goes in


@torch.no_grad()
def test_tokens_are_projected_and_spliced_after_the_begin_token(model):
    signal, image = ecg_tokens(model, 2)
    projected = model.project(signal, image)
    t_s, t_v = tokens_per_ecg(model.phi_s), tokens_per_ecg(model.phi_v)
    assert (t_s, t_v) == (24, 24) and projected.shape == (2, t_s + t_v, model.w_ts.weight.shape[0])
    few = torch.cat([signal[:, :20], signal[:, 20:].view(2, 4, 8, -1).mean(2)], 1)  # time tokens in means of eight
    torch.testing.assert_close(projected[:, :t_s], few @ model.w_ts.weight.T + model.w_ts.bias)
    few = torch.cat([image[:, :19], image[:, 19:].view(2, 5, 8, -1).mean(2)], 1)
    torch.testing.assert_close(projected[:, t_s:], few @ model.w_tsi.weight.T + model.w_tsi.bias)
    twice = model.project(torch.cat([signal, signal], 1), None)  # two ECGs, one after the other
    order = [encode(model.tokenizer, f" {word}")[-1] for word in ("first", "second")]
    marks = model.llm.get_input_embeddings()(torch.tensor(order))[:, None]  # each ECG's tokens say which one it is
    torch.testing.assert_close(twice.unflatten(1, (2, t_s)), projected[:, None, :t_s] + marks)
    with pytest.raises(BadRequest, match="3 ECGs cannot be compared"):
        model.project(torch.cat([signal] * 3, 1), None)
    ids = torch.tensor([model.prompt_ids("Read this ECG.")] * 2)
    ids[1, 4] = 7
    words = model.llm.get_input_embeddings()(ids)
    manual = torch.stack([torch.cat([words[b, :1], projected[b], words[b, 1:]]) for b in range(2)])
    assert torch.equal(model.splice(ids, projected), manual)
    assert torch.equal(model.splice(ids, None), words)


@torch.no_grad()
def test_either_view_alone(model):
    signal, image = ecg_tokens(model, 2)
    assert model.project(None, None) is None
    both = model.project(signal, image)
    torch.testing.assert_close(torch.cat([model.project(signal, None), model.project(None, image)], 1), both)


def test_prompts_begin_with_begin_and_hold_only_words(model):
    ids = model.prompt_ids("  Interpret this ECG.  ")
    assert ids[0] == model.tokenizer.bos_token_id
    assert model.tokenizer.decode(ids[1:]) == "User: interpret this ecg.\nAssistant:", "small letters alone"


def test_a_prompt_with_a_past_is_its_parts_in_order_and_begins_once(model):
    first, report, why, reason = "Interpret this ECG.", "Rate 72 bpm.", "why? HR72", "Evidence: none."
    ids = model.prompt_ids((first, report, why))
    assert ids == model.prompt_ids(first) + model.answer_ids(report) + model.prompt_ids(why)[1:]
    assert ids.count(model.tokenizer.bos_token_id) == 1 and model.prompt_ids((first,)) == model.prompt_ids(first)
    trained = model.batch([[(first, model.answer_ids(report)), (why, model.answer_ids(reason))]])
    assert trained.ids[0].tolist() == ids + model.answer_ids(reason), "as in training"
    assert model.prompt_ids(why) == model.prompt_ids("why? HR 72"), "numbers stand apart"


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t"])
def test_an_empty_prompt_is_refused(model, prompt):
    with pytest.raises(BadRequest, match="empty"):
        model.respond(prompt)
    with pytest.raises(BadRequest, match="empty"):
        model.respond(prompt, history=[("Interpret this ECG.", Answer("Rate 72 bpm."))])


def test_a_long_prompt_is_refused_with_its_length(model):
    with pytest.raises(BadRequest, match=f"more than {model.max_prompt}: please shorten"):
        model.respond("atrial fibrillation " * 200)


# --- learning


def loss_by_hand(model, prompts, answers, ecg, whole=False) -> float:
    """One conversation at a time through the whole language model: the mean over all words that count."""
    total = count = 0.0
    for i, (prompt, answer) in enumerate(zip(prompts, answers)):
        ids = model.prompt_ids(prompt) + answer
        embeds = model.llm.get_input_embeddings()(torch.tensor([ids]))
        s = 0
        if ecg is not None:
            s = ecg.shape[1]
            embeds = torch.cat([embeds[:, :1], ecg[i : i + 1], embeds[:, 1:]], 1)
        logits = model.llm(inputs_embeds=embeds).logits[0]
        first = 1 if whole else len(ids) - len(answer)
        for t in range(first, len(ids)):
            total += F.cross_entropy(logits[s + t - 1], torch.tensor(ids[t])).item()
            count += 1
    return total / count


@torch.no_grad()
@pytest.mark.parametrize("with_ecg", [False, True])
def test_answer_loss_equals_a_loop_over_conversations(model, with_ecg):
    answers = [Collator(model, tiny.corpus()).ids(text) for text in (*tiny.corpus().reports[:3], "Yes.", "A")]
    assert len({len(a) for a in answers}) > 2 and len({len(model.prompt_ids(p)) for p in PROMPTS}) > 2
    ecg = model.project(*ecg_tokens(model, len(PROMPTS))) if with_ecg else None
    found = tiny.answer_loss(model, PROMPTS, answers, ecg).item()
    assert found == pytest.approx(loss_by_hand(model, PROMPTS, answers, ecg), abs=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("view", ["words", "signal", "image", "both"])
def test_forward_is_that_of_transformers_models(model, view):
    """Its loss is `loss` where answers are labelled, and `loss_by_hand` where every word is."""
    answers = [Collator(model, tiny.corpus()).ids(text) for text in tiny.corpus().reports[:3]]
    batch = model.batch([[turn] for turn in zip(PROMPTS, answers)])
    labels = torch.full_like(batch.ids, IGNORED)
    flat = torch.full((labels[:, 1:].numel(),), IGNORED)
    flat[batch.places] = batch.target
    labels[:, 1:] = flat.view(len(labels), -1)
    x, lengths = tiny.patients().signal[:3], [len(model.prompt_ids(p)) + len(a) for p, a in zip(PROMPTS, answers)]
    signal, image = (x if view in ("signal", "both") else None), (raster(x) if view in ("image", "both") else None)
    ecg = model.project(*model.encode_ecg(signal, image))
    mask = (torch.arange(batch.ids.shape[1]) < torch.tensor(lengths)[:, None]).long()
    out = model(batch.ids, mask, signal, image, labels)
    torch.testing.assert_close(out.loss, model.loss(batch, ecg), rtol=1e-4, atol=1e-4)
    assert out.logits.shape == (*batch.ids.shape, model.llm.get_input_embeddings().weight.shape[0])
    assert model(batch.ids, mask, signal, image).loss is None
    every = batch.ids.masked_fill(mask == 0, IGNORED)
    by_hand = loss_by_hand(model, PROMPTS[:3], answers, ecg, whole=True)
    assert model(batch.ids, mask, signal, image, every).loss.item() == pytest.approx(by_hand, abs=1e-4)


@torch.no_grad()
def test_the_ecg_matters_to_the_answer(model):
    answers = [Collator(model, tiny.corpus()).ids(tiny.corpus().reports[0])]
    losses = [
        tiny.answer_loss(model, PROMPTS[:1], answers, model.project(*ecg_tokens(model, 1, seed))).item()
        for seed in (0, 1)
    ]
    assert abs(losses[0] - losses[1]) > 1e-4  # of about 8; the same ECG twice differs by nothing


def test_pretraining_lowers_the_loss_and_trains_the_llm_alone(tmp_path):
    model = tiny.reading_model()
    before = weights(model)
    plan = tiny.replace(tiny.PLAN, steps=20, lr=5e-3)
    history = tiny.pretrain(model, tiny.corpus(), plan, 0, tmp_path)
    assert history["loss"][-1] < history["loss"][0]
    moved = changed(model, before)
    assert moved and all(name.startswith("llm.") for name in moved)


def test_projection_alignment_changes_the_projections_alone(views, tmp_path):
    model = tiny.reading_model()
    before = weights(model)
    plan = tiny.replace(tiny.PLAN, steps=6)  # enough for a step with the image and one with the signal
    train_reading(model, tiny.corpus(), views, {"alignment": plan}, 0, tmp_path)
    assert changed(model, before) == {"w_ts.weight", "w_ts.bias", "w_tsi.weight", "w_tsi.bias"}
    assert not any(p.requires_grad for p in model.parameters())


def test_stage1_changes_llm_and_projections_and_no_encoder(views, tmp_path):
    model = tiny.reading_model()
    before = weights(model)
    train_reading(model, tiny.corpus(), views, {"stage1": tiny.replace(tiny.PLAN, steps=6)}, 0, tmp_path)
    moved = changed(model, before)
    assert {name.split(".")[0] for name in moved} == {"llm", "w_ts", "w_tsi"}
    assert {n for n in before if n.startswith("llm.")} <= moved, "full-parameter tuning"


def test_token_training_changes_the_new_rows_alone(tmp_path, views):
    model = tiny.reading_model()
    plain = model.fingerprint()
    embedding = next(n for n in plain if "embed" in n)
    known = model.llm.get_input_embeddings().weight[: len(model.tokenizer)].detach().clone()
    model.add_ecg_tokens(4)
    frozen, rows = model.fingerprint(("trainable_tokens",)), {n: p.clone() for n, p in model.token_rows().items()}
    assert len(frozen) == len(plain) and rows
    plan = tiny.replace(tiny.PLAN, steps=60, lr=5e-2)
    asked = [tiny.corpus().requests[row].text() for row in range(8)]
    shown = model.project(*views.get(range(8), "both"))
    losses = [tiny.answer_loss(model, asked, [model.ecg_ids[:1]] * 8, ecg).item() for ecg in (None, shown)]
    train_tokens(model, tiny.corpus(), plan, 0, tmp_path, views)
    assert sorted(model.fingerprint(("trainable_tokens",)).values()) == sorted(frozen.values())
    without = {name: value for name, value in plain.items() if name != embedding}
    assert sorted(without.values()) == sorted(set(frozen.values()) & set(without.values()))
    now = model.llm.get_input_embeddings()(torch.arange(len(known)))
    assert torch.equal(now, known), "a known word reads as before"
    assert all(not torch.equal(p, rows[name]) for name, p in model.token_rows().items())
    for before, ecg in zip(losses, (None, shown)):
        assert tiny.answer_loss(model, asked, [model.ecg_ids[:1]] * 8, ecg).item() < before


@torch.no_grad()
def test_new_rows_do_not_change_what_is_read(model):
    other = tiny.reading_model()
    signal, image = ecg_tokens(model, 3)
    before = tiny.answer_loss(other, PROMPTS[:3], [[5, 6, 7]] * 3, other.project(signal, image))
    other.add_ecg_tokens(4)
    logits_before = before.item()
    after = tiny.answer_loss(other, PROMPTS[:3], [[5, 6, 7]] * 3, other.project(signal, image)).item()
    assert after == pytest.approx(logits_before, abs=1e-2), "only four more words compete"


def test_mapper_alignment_trains_mapper_and_rows_on_text_alone(tmp_path, whole):
    model = tiny.whole_model()
    before = weights(model)
    history = tiny.align_mapper(model, tiny.corpus(), tiny.PLAN, 0, tmp_path)
    moved = changed(model, before)
    assert moved and all(n.startswith("mapper.") or "trainable_tokens_delta" in n for n in moved)
    assert any(n.startswith("mapper.") for n in moved) and any("trainable_tokens_delta" in n for n in moved)
    assert history["mse"] == history["loss"]


def test_mapper_alignment_leaves_the_row_that_decides(tmp_path):
    model = tiny.whole_model()
    before = {name: p.detach().clone() for name, p in model.token_rows().items()}
    tiny.align_mapper(model, tiny.corpus(), tiny.PLAN, 0, tmp_path)
    for name, p in model.token_rows().items():
        assert torch.equal(p[0], before[name][0]), "[ECG_1] decides when, and stays"
        assert not torch.equal(p[1:], before[name][1:])


@pytest.mark.parametrize("shown", [False, True])
def test_the_loop_of_notebook_07_is_the_one_that_studies_run(shown, tmp_path, views):
    notebook, shown = "07_ecg_tokens", {"cached": views} if shown else {}
    [cell] = [source for source in tiny.code_cells(notebook) if "for step in loop:" in source]
    mine, theirs, corpus = tiny.whole_model(), tiny.whole_model(), tiny.corpus()
    known = vars(tiny.defined_in(notebook)) | {"model": mine, "corpus": corpus, "new": mine.token_rows(), "seed": 0}
    known |= {"P": replace(tiny.PROFILE, tokens=tiny.PLAN), "store": tiny.store(tmp_path)}
    known |= {"train": SimpleNamespace(first=lambda n: None), "encoded": 4}
    known["CachedTokens"] = SimpleNamespace(encode=lambda *parts: shown.get("cached"))
    exec(cell, known)
    history = train_tokens(theirs, corpus, tiny.PLAN, 0, tmp_path / "study", **shown)
    assert known["loop"].history["loss"] == history["loss"]
    assert all(map(torch.equal, mine.state_dict().values(), theirs.state_dict().values()))


def test_the_loop_of_notebook_08_trains_the_mapper_alone(tmp_path):
    [cell] = [source for source in tiny.code_cells("08_mapper_alignment") if "for step in loop:" in source]
    model = tiny.whole_model()
    read, wanted = read_wishes(model, model.generator.condition, Collator(model, tiny.corpus()), 64, 0, batch=16)
    known = vars(tiny.defined_in("08_mapper_alignment")) | {"model": model, "read": read, "wanted": wanted, "seed": 0}
    known |= {"P": replace(tiny.PROFILE, mapper=tiny.replace(tiny.PLAN, steps=40, lr=3e-3))}
    before = weights(model)
    exec(cell, known | {"store": tiny.store(tmp_path), "lesson": SimpleNamespace(device="cpu")}, known)
    losses = known["loop"].history["mse"]
    assert changed(model, before) and all(name.startswith("mapper.") for name in changed(model, before))
    assert losses[-1] < 0.8 * losses[0]


def test_wishes_are_read_once_as_they_would_be_in_a_step():
    whole, corpus = tiny.whole_model(), tiny.corpus()
    collator, condition = Collator(whole, corpus), whole.generator.condition
    states, wanted = read_wishes(whole, condition, collator, 24, 3, batch=8)
    assert states.dtype == torch.float16 and len(states) == len(wanted) == 24
    pairs = [pair for number in range(3) for pair in collator.requests(Step(number, 3, 8))[0]]
    whole_again = whole.ecg_states([prompt for prompt, _ in pairs])
    torch.testing.assert_close(states.float(), whole_again, atol=5e-3, rtol=5e-3)
    torch.testing.assert_close(wanted, condition([words for _, words in pairs]), atol=1e-4, rtol=1e-4)
    again = read_wishes(whole, condition, collator, 24, 3, batch=8)
    assert torch.equal(again[0], states) and torch.equal(again[1], wanted), "the seed decides"


def test_some_steps_of_stage_2_show_ecgs_to_be_read_or_beside_a_wish(whole, views):
    corpus, few = tiny.corpus(), CachedTokens(views.signal[:40], views.image[:40])
    collator, asked, kinds = Collator(whole, corpus), whole.ecg_ids[:1], set()
    read = [whole.answer_ids(text) for text in corpus.reports[:40]]
    for number in range(20 * SHOWN_EVERY):
        step = Step(number, 0, 8)
        dialogues, ecg = collator.stage2(step, few)
        wishes, beside = collator.requests(Step(number, 0, 8), few)
        assert (ecg is None) == (beside is None) == bool(number % SHOWN_EVERY)
        if ecg is None:
            assert len(dialogues) == len(wishes) == 8
            assert dialogues == collator.stage2(Step(number, 0, 8))[0], "as without ECGs"
            continue
        assert len(dialogues) == len(wishes) == len(ecg) == len(beside) == 4 and not ecg.requires_grad
        answers = [answer for [(_, answer)] in dialogues]
        kinds |= {"wish" if answer == asked else "report" if answer in read else "other" for answer in answers}
        assert all(Request.parse(words).text() == words for _, words in wishes)
    assert kinds == {"wish", "report", "other"}


@torch.no_grad()
def test_each_blank_of_a_form_foretells_its_words_whatever_fills_the_others(model):
    one, other = (Request(63, "female", rate, ("AFIB", "LVH"), axis=-30) for rate in (120, 80))
    form = model.form(one.text())
    batch = model.batch([[(PROMPTS[2], form)]])
    ids = torch.tensor([model.prompt_ids(PROMPTS[2]) + form])
    logits = model(ids).logits[0]
    at = {name: len(ids[0]) - len(FORM) - 1 + k for k, name in enumerate(FORM)}  # the place of each blank
    told = {"Age": " 63", "Rate": " 120", "PR": " unknown", "Axis": " -30", "rhythm": " atrial fibrillation"}
    pairs = list(zip(batch.places.tolist(), batch.target.tolist()))
    weights = batch.weight.tolist()
    for name, words in told.items():
        counts = 1 if words == " unknown" else FILLED
        found = [(word, weight) for (place, word), weight in zip(pairs, weights) if place == at[name]]
        assert [word for word, _ in found] == encode(model.tokenizer, words), name
        assert all(weight == pytest.approx(counts * weights[0]) for _, weight in found), name
    each = [-logits[place].log_softmax(-1)[word] * weight for (place, word), weight in zip(pairs, weights)]
    by_hand = sum(each)
    torch.testing.assert_close(model.loss(batch), by_hand, atol=1e-3, rtol=1e-3)
    assert pairs[0] == (at["Age"] - 2, form[0]) and at["Age"] - 1 not in batch.places, (
        "the form is begun, and then given"
    )
    assert model.form(other.text()) == form, "the same words for every wish"
    first = pairs.index((at["Rate"], encode(model.tokenizer, " 120")[0]))
    assert list(zip(batch.rates.tolist(), batch.bpm.tolist())) == [(first, 120.0)]


def test_what_is_asked_for_beside_an_ecg_is_in_the_words_alone():
    corpus = tiny.corpus()
    collator = Collator(tiny.reading_model(), corpus)
    dialogues = collator.reports([0] * 200, random.Random(0), {"attached": 1.0})
    answers = {tuple(answer.words) for [(_, answer)] in dialogues}
    assert len(answers) > 100, "of other patients than the one that is shown"


def test_an_ecg_before_a_wish_reaches_the_mapper(whole, monkeypatch):
    ecg, understood = ECG(tiny.patients().signal[0].numpy(), 100), Request(63, "female", 120, ("AFIB",))
    monkeypatch.setattr(whole.generator.condition, "requests", lambda vectors: [understood])
    monkeypatch.setattr(whole, "write", lambda *a, **k: [[whole.ecg_ids[0]]])
    alone, beside = (whole.respond(PROMPTS[2], ecg=shown).ecg.signal for shown in (None, ecg))
    assert not (alone == beside).all()
    views = ecg_tokens(whole, 3)
    together = whole.conditions(PROMPTS[:3], *views, batch=2)
    for i, prompt in enumerate(PROMPTS[:3]):
        own = whole.conditions([prompt], *(view[i : i + 1] for view in views))
        torch.testing.assert_close(together[i : i + 1], own, atol=1e-4, rtol=1e-4)


# --- batches


def test_answers_do_not_depend_on_the_batch(whole, monkeypatch):
    monkeypatch.setattr(whole, "max_answer", 20)
    views = ecg_tokens(whole, len(PROMPTS))
    for tokens in ((None, None), views, (views[0], None), (None, views[1])):
        together = whole.write(PROMPTS, *tokens)
        alone = [
            whole.write([p], *(None if t is None else t[i : i + 1] for t in tokens))[0] for i, p in enumerate(PROMPTS)
        ]
        pad, ends = whole.tokenizer.pad_token_id, {whole.tokenizer.eos_token_id, whole.ecg_ids[0]}
        for a, b in zip(together, alone):
            a, b = (strip(x, pad, ends) for x in (a, b))
            assert a == b
        assert whole.texts(together) == whole.texts(alone)
    split = whole.write(PROMPTS, *views, batch=2)
    assert whole.texts(split) == whole.texts(whole.write(PROMPTS, *views))


def strip(ids: list[int], pad: int, ends: set[int]) -> list[int]:
    """An answer up to its end, without padding."""
    for place, i in enumerate(ids):
        if i in ends:
            return ids[: place + 1]
    return [i for i in ids if i != pad]


@torch.no_grad()
def test_greedy_answers_take_the_likeliest_word(whole):
    [generated] = whole.write(PROMPTS[:1])
    ids = whole.prompt_ids(PROMPTS[0])
    for word in generated[:12]:
        scores = whole.llm(inputs_embeds=whole.llm.get_input_embeddings()(torch.tensor([ids]))).logits[0, -1]
        scores[whole.ecg_ids[1:]] = -torch.inf
        assert word == scores.argmax().item()
        ids.append(word)


def test_ecg_states_and_their_gradients_are_those_of_one_pass(whole):
    """The prompt is read without gradient, its own rows after it: here all at once, with gradient."""
    rows = list(whole.token_rows().values())
    for row in rows:
        row.requires_grad_(True)
    ids = torch.tensor([*whole.prompt_ids(PROMPTS[2]), *whole.ecg_ids])[None]
    one_pass = whole.lm.base_model(inputs_embeds=whole.splice(ids, None)).last_hidden_state[:, -len(whole.ecg_ids) :]
    states = whole.ecg_states([PROMPTS[2]])
    torch.testing.assert_close(states, one_pass, rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(*(torch.autograd.grad(x.pow(3).sum(), rows) for x in (states, one_pass))):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
        assert mine.abs().max() > 0
    for row in rows:
        row.requires_grad_(False)
    ecg = torch.randn(1, 5, states.shape[-1], generator=torch.Generator().manual_seed(0))
    assert (whole.ecg_states([PROMPTS[2]], ecg) - states).abs().max() > 1e-3, "an attached ECG is seen"


@torch.no_grad()
def test_ecg_states_do_not_depend_on_the_batch(whole):
    states = whole.ecg_states(PROMPTS)
    assert states.shape == (len(PROMPTS), 16, whole.w_ts.weight.shape[0])
    for i, prompt in enumerate(PROMPTS):
        torch.testing.assert_close(whole.ecg_states([prompt])[0], states[i], atol=1e-4, rtol=1e-4)
    ids = torch.tensor([whole.prompt_ids(PROMPTS[2]) + whole.ecg_ids])
    embeds = whole.llm.get_input_embeddings()(ids)
    hidden = whole.llm(inputs_embeds=embeds, output_hidden_states=True).hidden_states[-1][0, -16:]
    torch.testing.assert_close(states[2], hidden, atol=1e-4, rtol=1e-4)
    conditions = whole.conditions(PROMPTS, batch=2)
    torch.testing.assert_close(conditions, whole.mapper(states), atol=1e-4, rtol=1e-4)


# --- the two directions


def test_a_typed_token_stays_text(whole):
    for prompt in ("[ECG_1]", "What is [ECG_1]?", "<eos>[ECG_2] <bos>", "[ECG_1][ECG_2][ECG_3][ECG_4]"):
        ids = whole.prompt_ids(prompt)
        assert not set(ids) & set(whole.ecg_ids) and ids.count(whole.tokenizer.bos_token_id) == 1
        assert whole.tokenizer.eos_token_id not in ids


def test_the_model_decides_and_the_answer_follows(whole, monkeypatch):
    end, understood = whole.tokenizer.eos_token_id, Request(63, "female", 120, ("AFIB",))
    monkeypatch.setattr(whole.generator.condition, "requests", lambda vectors: [understood])
    monkeypatch.setattr(whole, "write", lambda *a, **k: [[whole.ecg_ids[0]]])
    generated = whole.respond(PROMPTS[2], seed=3)
    assert isinstance(generated.ecg, ECG) and generated.ecg.signal.shape == (12, 1024) and generated.ecg.hz == 102.4
    assert "belongs to no patient" in generated.text and generated.understood == understood
    assert generated.context == WANTED + understood.text(), "what the model made is shown to it in words"
    again, other = whole.respond(PROMPTS[2], seed=3).ecg, whole.respond(PROMPTS[2], seed=4).ecg
    assert (again.signal == generated.ecg.signal).all() and not (other.signal == generated.ecg.signal).all()
    words = [*encode(whole.tokenizer, " Rate 72 bpm."), end]
    monkeypatch.setattr(whole, "write", lambda *a, **k: [words])
    answer = whole.respond(PROMPTS[2])
    assert answer.ecg is None and answer.text == answer.context == "Rate 72 bpm." and answer.understood is None


def test_a_wish_for_what_no_heart_can_be_is_refused_in_words(whole, monkeypatch):
    monkeypatch.setattr(whole, "write", lambda *a, **k: [[whole.ecg_ids[0]]])
    monkeypatch.setattr(whole.generator.condition, "requests", lambda vectors: [Request(rate=900)])
    answer = whole.respond("An ECG at 900 bpm")
    assert answer.text == Request(rate=900).refusal and answer.ecg is None and answer.understood is None


def test_what_was_said_before_is_shown_and_the_oldest_is_forgotten(whole, monkeypatch):
    shown = []

    def write(prompts, signal=None, image=None):
        shown.append((prompts[0], signal, image))
        return [[whole.tokenizer.eos_token_id]]

    monkeypatch.setattr(whole, "write", write)
    ecg, understood = ECG(tiny.patients().signal[0].numpy(), 100), Request(rate=90, findings=("SR",))
    read = whole.respond("Interpret this ECG.", ecg=ecg)
    history = [("Interpret this ECG.", replace(read, text="Rate 72 bpm."))]
    later = whole.respond("Why?", history=history)
    (first, *seen), (dialogue, *again) = shown
    assert first == ("Interpret this ECG.",) and dialogue == ("Interpret this ECG.", "Rate 72 bpm.", "Why?")
    assert later.read is read.read is ecg
    torch.testing.assert_close(again, seen)  # the ECG is still seen

    history.append(("Make it at 90", Answer("Here is an ECG.", ecg, understood)))
    whole.respond("Another one", history=history)
    last = ("Make it at 90", WANTED + understood.text(), "Another one")
    assert shown[-1] == (("Interpret this ECG.", "Rate 72 bpm.", *last), None, None)
    for length, left in ((len(whole.prompt_ids(last)), last), (len(whole.prompt_ids(last)) - 1, last[-1:])):
        monkeypatch.setattr(whole, "max_prompt", length)
        whole.respond("Another one", history=history)
        assert shown[-1][0] == left


@torch.no_grad()
def test_what_was_said_before_changes_the_answer(whole, monkeypatch):
    monkeypatch.setattr(whole, "max_answer", 12)
    past = ("Make an ECG of flutter.", WANTED + Request(findings=("AFLT",)).text(), "Now at 70 bpm")
    together = whole.ecg_states([past, PROMPTS[2]])
    torch.testing.assert_close(whole.ecg_states([past])[0], together[0], atol=1e-4, rtol=1e-4)
    assert (together[0] - whole.ecg_states([past[-1]])[0]).abs().max() > 1e-3
    history = [("Interpret this ECG.", Answer("Rate 72 bpm."))]
    asked = whole.write([("Interpret this ECG.", "Rate 72 bpm.", "Why?")])
    monkeypatch.setattr(whole.generator.condition, "requests", lambda vectors: [Request()])
    answer = whole.respond("Why?", history=history)
    assert answer.ecg is not None or answer.text == whole.texts(asked)[0]


def test_evidence_is_marked_where_the_report_says():
    ecg = ECG(tiny.patients().signal[0].numpy(), 100)
    answer = Answer("Rate 72 bpm. Rhythm sinus rhythm. PR 160, QRS 90, QT 400 ms. ST elevation in V2 V3.", read=ecg)
    assert {lead for lead, *_ in answer.marks} == {"V2", "V3"}, "a sinus rhythm needs no evidence"
    assert all(last - first == pytest.approx(0.08) for _, first, last in answer.marks) and len(answer.marks) > 10
    assert Answer(answer.text).marks == [] == Answer("Rhythm sinus rhythm. ST level. T upright.", read=ecg).marks


def test_a_page_may_be_a_path(whole, tmp_path, monkeypatch):
    path, seen = save_page(ECG(tiny.patients().signal[0].numpy(), 100), tmp_path / "page.png"), []
    monkeypatch.setattr(
        whole, "write", lambda prompts, *views: [seen.append(views), [whole.tokenizer.eos_token_id]][1:]
    )
    for image in (path, str(path)):
        whole.respond("Interpret this ECG.", image=image)
    assert seen[0][0] is None and torch.equal(seen[0][1], seen[1][1])


def test_without_a_generator_the_wish_is_refused(monkeypatch):
    model = tiny.whole_model()
    model.generator = None
    monkeypatch.setattr(model, "write", lambda *a, **k: [[model.ecg_ids[0]]])
    with pytest.raises(BadArtifact, match="run notebook 06"):
        model.respond(PROMPTS[2])
    with pytest.raises(BadArtifact, match="run notebooks 07 and 08"):
        tiny.reading_model().conditions(PROMPTS)


def test_an_attached_ecg_is_seen_as_signal_and_image_and_a_page_as_image(whole, monkeypatch, tmp_path):
    seen = []

    def write(prompts, signal=None, image=None):
        seen.append((signal, image))
        return [[whole.tokenizer.eos_token_id]]

    monkeypatch.setattr(whole, "write", write)
    ecg = ECG(tiny.patients().signal[0].numpy(), 100)
    whole.respond("Interpret this ECG.", ecg=ecg)
    whole.respond("Interpret this ECG.", image=str(save_page(ecg, tmp_path / "page.png")))
    whole.respond("Interpret this ECG.")
    signal = torch.from_numpy(ecg.signal)[None]
    torch.testing.assert_close(seen[0][:2], whole.encode_ecg(signal, raster(signal)))
    assert seen[1][0] is None and seen[1][1].shape == seen[0][1].shape
    assert seen[2] == (None, None)


def test_an_ecg_and_a_page_together_are_refused(whole, tmp_path):
    ecg = ECG(tiny.patients().signal[0].numpy(), 100)
    with pytest.raises(BadRequest, match="give one of them"):
        whole.respond("Interpret this ECG.", ecg=ecg, image=str(save_page(ecg, tmp_path / "page.png")))


def test_a_short_ecg_is_refused(whole):
    short = ECG(tiny.patients().signal[0, :, :500].numpy(), 100)
    with pytest.raises(BadECG, match="lasts 5.00 s"):
        whole.respond("Interpret this ECG.", ecg=short)


# --- on disk


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A store with every artifact of the chain, of random weights, and the model that it holds."""
    return tiny.unified_chain(tmp_path_factory.mktemp("chain"))


@torch.no_grad()
@pytest.mark.parametrize("stage", ["language", "alignment", "stage1"])
def test_a_reading_model_comes_back(chain, stage):
    store = chain[0]
    mine, back = tiny.reading_model(1), load_reading(store, stage)
    ecg = ecg_tokens(mine, 2)
    answers = [[5, 6, 7], [8, 9]]
    if stage == "language":
        assert torch.equal(
            tiny.answer_loss(back, PROMPTS[:2], answers, None), tiny.answer_loss(mine, PROMPTS[:2], answers, None)
        )
        return
    losses = [tiny.answer_loss(m, PROMPTS[:2], answers, m.project(*ecg)) for m in (mine, back)]
    assert torch.equal(*losses) and mine.write(PROMPTS[:2], *ecg) == back.write(PROMPTS[:2], *ecg)
    assert back.stage == stage


def test_tokens_and_mapper_come_back(chain):
    store, model = chain
    tokens = load_reading(store, "tokens")
    assert tokens.mapper is None and tokens.ecg_ids == model.ecg_ids
    with torch.no_grad():
        assert torch.equal(tokens.ecg_states(PROMPTS), model.ecg_states(PROMPTS))
    back = load_reading(store, "unified")
    torch.testing.assert_close(back.conditions(PROMPTS), model.conditions(PROMPTS), atol=1e-3, rtol=1e-3)
    assert back.write(PROMPTS) == model.write(PROMPTS)
    assert not any(p.requires_grad for p in back.parameters())
    rows = zip(back.token_rows().values(), model.token_rows().values())
    assert all(torch.equal(mine, theirs) for mine, theirs in rows), "the rows can go on training"


def test_a_folder_says_all_whatever_its_name(chain, tmp_path):
    """No cohort, no profile, no store; and neither the simulator nor a data set library is imported for it."""
    store, model = chain
    shutil.copytree(store.folder / "unified", tmp_path / "any name")
    back = UniECG.from_pretrained(tmp_path / "any name")
    mine, theirs = (m.generator.signals(m.conditions(PROMPTS[:2]), seed=1) for m in (model, back))
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    answer = back.respond("Interpret this ECG.", ecg=ECG(tiny.patients().signal[0].numpy(), 100))
    assert isinstance(answer.text, str)
    code = (
        "import sys; from uniecg_lite import UniECG; model = UniECG.from_pretrained(sys.argv[1]);"
        "model.generator.make(model.conditions(['an ECG']));"
        "print([m for m in sys.modules if m.startswith(('uniecg_lite.simulator', 'uniecg_lite.cohort', 'datasets'))])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "any name"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("encoders", "encoders.safetensors", "run notebook 02"),
        ("unified", "llm/model.safetensors", "no usable causal language model"),
        ("unified", "model.safetensors", "unified is damaged .*: run its notebook again"),
        ("unified", "config.json", "unified is damaged .*: run its notebook again"),
        ("unified", "generator/generator.safetensors", "damaged .*: run notebook 06"),
        ("diffusets", "generator.safetensors", "damaged .*: run notebook 06"),
    ],
)
def test_a_damaged_file_is_named(chain, name, file, message):
    store, _ = chain
    load = {
        "encoders": lambda: load_reading(store, "language"),
        "diffusets": lambda: Generator.from_pretrained(store.path("diffusets")),
    }
    path = store.folder / name / file
    good = path.read_bytes()
    try:
        path.write_bytes(good[: len(good) // 2])
        with pytest.raises(BadArtifact, match=message):
            load.get(name, lambda: UniECG.from_pretrained(store.folder / name))()
    finally:
        path.write_bytes(good)


def test_a_folder_of_version_1_and_no_folder_are_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"ecg_tokens": 8, "ecg_ids": [1], "mapper": {}}))
    with pytest.raises(BadArtifact, match=r"written by version 0\.1: run notebooks 02 to 08 again"):
        UniECG.from_pretrained(tmp_path)
    for absent in (tmp_path / "absent", "nobody/nothing"):
        with pytest.raises(BadArtifact, match="There is no model in"):
            UniECG.from_pretrained(absent)


# --- another language model in its place


def small_words() -> PreTrainedTokenizerFast:
    """A plain byte-level tokenizer as another family would bring it: an end token and nothing else."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    words.train_from_iterator(tiny.corpus().sentences(random.Random(0), 100), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|endoftext|>")


FAMILIES = {
    "gpt2": lambda v: GPT2Config(vocab_size=v, n_embd=32, n_layer=2, n_head=2, n_positions=1024),
    "gpt_neox": lambda v: GPTNeoXConfig(
        vocab_size=v, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    ),
    "qwen2": lambda v: Qwen2Config(
        vocab_size=v, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=64, tie_word_embeddings=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_another_language_model_takes_its_place(family, tmp_path, monkeypatch, views):
    words, folder = small_words(), tmp_path / family
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(FAMILIES[family](len(words))).save_pretrained(folder)
    words.save_pretrained(folder)
    monkeypatch.setenv("UNIECG_LLM", str(folder))
    size = profile("smoke")
    llm, tokenizer = load_llm(size.llm)
    assert llm.get_input_embeddings().weight.shape[0] >= len(tokenizer) + size.ecg_tokens
    assert tokenizer.bos_token_id is not None and tokenizer.pad_token_id is not None
    model = UniECG(llm, tokenizer, *new_encoders(size)).eval()
    corpus, plan = tiny.corpus(), tiny.replace(tiny.PLAN, steps=2, batch=2)
    train_reading(model, corpus, views, {"alignment": plan, "stage1": plan}, 0, tmp_path)
    model.add_ecg_tokens(size.ecg_tokens)
    frozen, rows = model.fingerprint(("trainable_tokens",)), {n: p.clone() for n, p in model.token_rows().items()}
    assert len(rows) == (1 if llm.config.tie_word_embeddings else 2), "an untied output layer has rows of its own"
    train_tokens(model, corpus, plan, 0, tmp_path / "c")
    assert model.fingerprint(("trainable_tokens",)) == frozen
    moved = [name for name, p in model.token_rows().items() if not torch.equal(p, rows[name])]
    assert len(moved) == 1, "the row that is emitted; an untied row that is read learns with the mapper"
    model.eval()
    with torch.no_grad():
        states = model.ecg_states(PROMPTS)
        assert states.shape == (len(PROMPTS), size.ecg_tokens, 32)
        torch.testing.assert_close(model.ecg_states(PROMPTS[2:3])[0], states[2], atol=1e-4, rtol=1e-4)
        answers = [[5, 6, 7, 8], [9]]
        loss = tiny.answer_loss(model, PROMPTS[:2], answers, model.project(*views.get([0, 1], "both")))
        ecg = model.project(*views.get([0, 1], "both"))
        assert loss.item() == pytest.approx(loss_by_hand(model, PROMPTS[:2], answers, ecg), abs=1e-4)
    assert "[ECG_1]" not in tokenizer.decode(model.prompt_ids("x")) and len(model.texts(model.write(PROMPTS[:2]))) == 2
    assert not set(model.prompt_ids("[ECG_1] <|endoftext|>")[1:]) & {*model.ecg_ids, tokenizer.eos_token_id}


def test_no_language_model_there(tmp_path):
    with pytest.raises(BadArtifact, match="run notebook 03, or set llm"):
        load_llm(tmp_path / "nothing")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadArtifact, match="no usable causal language model"):
        load_llm(tmp_path)


@pytest.mark.parametrize("more", range(0, 64, 9))
def test_a_pocket_llm_has_room_for_the_new_tokens_and_keeps_its_size(tmp_path, more):
    words = tiny.tokenizer()
    words.add_tokens([f"word{i}" for i in range(more)])
    llm = pocket_llm(tiny.PROFILE, words)
    rows = llm.get_input_embeddings().weight.shape[0]
    assert rows >= len(words) + tiny.PROFILE.ecg_tokens
    llm.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    assert load_llm(tmp_path)[0].get_input_embeddings().weight.shape[0] == rows
    assert llm.get_output_embeddings().weight is llm.get_input_embeddings().weight


def test_rows_of_a_step_are_alike_in_length():
    drawn, rng = [*range(30)], random.Random(0)
    rng.shuffle(drawn)
    seen = {tuple(alike(drawn, rng, lambda length: length)) for _ in range(60)}
    assert seen == {tuple(range(10 * part, 10 * part + 10)) for part in range(ALIKE)}
