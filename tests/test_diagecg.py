"""DiagECG-lite: codes and the ECG they say, new words, forecasts, adapters, answers, attention."""

import copy
from functools import cache

import pytest
import tiny
import torch
import torch.nn.functional as F
from tiny import PLAN, PROFILE, Patients, corpus, patients, store, tokenizer

from uniecg_lite.checkpoints import load_adapters, load_diagecg, new_codec, save_part
from uniecg_lite.diagecg.diagecg_metrics import (
    answers,
    attention,
    attention_metrics,
    codec_metrics,
    forecast_metrics,
    overlap,
    real_metrics,
    token_waves,
    waves_kept,
)
from uniecg_lite.diagecg.diagecg_model import DiagECG, code_names
from uniecg_lite.diagecg.diagecg_stages import background, forecast, train_tokenizer, tune, windows, with_background
from uniecg_lite.diagecg.fsq_tokenizer import ECGTokenizer
from uniecg_lite.ecg import ECG
from uniecg_lite.errors import BadECG, BadRequest
from uniecg_lite.language.tokenizer import encode
from uniecg_lite.leads import lead_law_residual
from uniecg_lite.llm import pocket_llm
from uniecg_lite.metrics.qa import draw_questions

SIGNAL = patients().signal[:6]


def codec(**other) -> ECGTokenizer:
    torch.manual_seed(0)
    return new_codec(PROFILE, **other)


@cache
def _trained() -> ECGTokenizer:
    generated = codec()
    import tempfile
    from pathlib import Path

    train_tokenizer(generated, Patients(), PLAN, 0, Path(tempfile.mkdtemp()))
    return generated


@cache
def _model() -> DiagECG:
    words = tokenizer()
    torch.manual_seed(1)
    model = DiagECG(pocket_llm(PROFILE, words), words, _trained())
    with torch.no_grad():  # so that answers differ from each other
        for p in model.llm.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model.eval()


def model() -> DiagECG:
    return copy.deepcopy(_model())


def codes() -> torch.Tensor:
    return _trained().encode(SIGNAL)


# --- codes


def test_the_published_shape():
    torch.manual_seed(0)
    published = ECGTokenizer((2, 2, 2, 2), width=32, wide=32, leads=12, groups=8)
    generated = published.encode(torch.randn(1, 12, 5000))
    assert generated.shape == (1, 313) and published.codes == 6**4 == 1296
    assert published.fsq.project_in.weight.shape == (4, 12 * 32)
    assert published.decode(generated, 5000).shape == (1, 12, 5000)


def test_our_shapes_and_lead_laws():
    ours = codec()
    generated = ours.encode(SIGNAL)
    assert generated.shape == (6, ours.many(1000)) and generated.dtype == torch.int64
    assert ours.many(1000) == PROFILE.diag_books * 1000 // ours.stride and ours.many(990) == ours.many(1000)
    assert generated.min() >= 0 and generated.max() < ours.codes
    back = ours.decode(generated)
    assert back.shape == SIGNAL.shape and lead_law_residual(back).max() < 1e-4
    assert ours.decode(generated, 990).shape[-1] == 990


def test_every_lead_passes_the_same_encoder_alone():
    ours, width = codec(), PROFILE.diag_width
    numbers = ours.numbers(SIGNAL).unflatten(-1, (8, width))  # (B, T, 8, D)
    one = ours.encoder(SIGNAL[:, 1:2]).transpose(1, 2)  # lead II
    torch.testing.assert_close(numbers[:, :, 1], one)
    changed = SIGNAL.clone()
    changed[:, 6:] += 1  # V1 to V6
    other = ours.numbers(changed).unflatten(-1, (8, width))
    assert torch.equal(other[:, :, :2], numbers[:, :, :2]) and not torch.equal(other[:, :, 2:], numbers[:, :, 2:])
    joint = codec(lead_wise=False)
    a, b = (joint.numbers(x).unflatten(-1, (8, width)) for x in (SIGNAL, changed))
    assert not torch.allclose(a[:, :, :2], b[:, :, :2])


def test_all_at_once_is_one_after_the_other():
    ours = codec()
    loop = torch.cat([ours.numbers(x[None]) for x in SIGNAL])
    torch.testing.assert_close(ours.numbers(SIGNAL), loop, rtol=1e-4, atol=1e-5)


def test_numbers_become_levels_and_gradients_pass_through():
    ours = codec()
    numbers = ours.numbers(SIGNAL)
    rough, generated = ours.fsq(numbers)
    torch.testing.assert_close(ours.fsq.indices_to_codes(generated), rough)
    torch.testing.assert_close(ours.fsq.indices_to_codes(ours.encode(SIGNAL).unflatten(1, (-1, ours.books))), rough)
    levels = ours.fsq.implicit_codebook
    assert len(levels) == ours.codes and all(len(levels[:, i].unique()) == n for i, n in enumerate(PROFILE.diag_levels))
    ours.loss(SIGNAL)["loss"].backward()
    assert ours.encoder[0].weight.grad.abs().sum() > 0


def test_training_lowers_the_error_and_repeats_itself(tmp_path):
    one, other = codec(), codec()
    before = one.loss(SIGNAL)["mse"]
    runs = [train_tokenizer(each, Patients(), PLAN, 0, tmp_path / name) for each, name in ((one, "a"), (other, "b"))]
    assert runs[0]["loss"] == runs[1]["loss"] and one.loss(SIGNAL)["mse"] < before
    assert not any(p.requires_grad for p in one.parameters())


def test_scores_of_codes():
    class Perfect:
        codes = 4

        def parameters(self):
            yield torch.zeros(1)

        def encode(self, x):
            self.x = x
            return torch.arange(2).expand(len(x), 2)

        def decode(self, codes, length):
            return self.x

    found = codec_metrics(Perfect(), SIGNAL)
    assert found["diagecg.reconstruction_rmse_mv"] == 0 and found["diagecg.codes_used"] == 0.5
    assert found["diagecg.reconstruction_hr_error_bpm"] == 0 and found["diagecg.perplexity_of_codes"] == pytest.approx(
        2
    )


def test_waves_that_are_kept_do_not_change_and_halved_ones_do():
    class Halved:
        share = 1.0

        def parameters(self):
            yield torch.zeros(1)

        def encode(self, x):
            self.x = x
            return torch.zeros(len(x), 1, dtype=torch.long)

        def decode(self, codes, length):
            return self.share * self.x

    truth, teller = {k: v[:6] for k, v in patients().truth.items()}, Halved()
    assert set(waves_kept(teller, SIGNAL, truth).values()) == {0.0}
    teller.share = 0.5
    assert waves_kept(teller, SIGNAL, truth)["diagecg.qrs_change_share"] == pytest.approx(0.5, abs=1e-3)


# --- words


def test_codes_are_words_that_nobody_can_type():
    ours = model()
    ids = ours.tokenizer.convert_tokens_to_ids(code_names(ours.codec.codes))
    assert ids == list(range(ours.start, ours.first + ours.codec.codes))
    typed = encode(ours.tokenizer, "[ecg] [c0] [/ecg]")
    assert max(typed) < ours.start
    assert ours.llm.get_input_embeddings().weight.shape[0] >= ours.first + ours.codec.codes


def test_the_rows_of_words_stay_and_codes_of_like_numbers_start_alike():
    words = tokenizer()
    torch.manual_seed(1)
    llm = pocket_llm(PROFILE, words)
    before = llm.get_input_embeddings().weight[: len(words)].clone()
    ours = DiagECG(llm, words, _trained())
    rows = ours.llm.get_input_embeddings().weight
    assert torch.equal(rows[: len(before)], before)
    codes_rows = rows[ours.first : ours.first + ours.codec.codes]
    level, gap = ours.codec.fsq.implicit_codebook, torch.cdist(codes_rows, codes_rows)
    apart = torch.cdist(level, level)
    near, far = apart < 1.1 * apart[apart > 0].min(), apart > apart.median()
    assert gap[near & (apart > 0)].mean() < 0.8 * gap[far].mean()


def test_an_ecg_is_spliced_after_begin():
    ours, ids = model(), torch.tensor([[1, 7, 8]])
    generated, words = codes()[:1], ours.llm.get_input_embeddings()
    block = [ours.start, *(ours.first + generated[0]).tolist(), ours.end]
    torch.testing.assert_close(
        ours.splice(ids, ours.block(generated[:, None])), words(torch.tensor([[1, *block, 7, 8]]))
    )
    two = ours.splice(ids, ours.block(codes()[:2][None]))
    other = [ours.start, *(ours.first + codes()[1]).tolist(), ours.end]
    wanted = words(torch.tensor([[1, *block, *other, 7, 8]]))
    for word, at in ((" first", 2), (" second", 2 + len(block))):  # codes of two ECGs say which one they belong to
        wanted[:, at : at + len(block) - 2] += words(torch.tensor(encode(ours.tokenizer, word)[-1]))
    torch.testing.assert_close(two, wanted)


def test_the_loss_counts_answers_only():
    ours, stated = model(), [[9, 10, 2], [11, 2]]
    prompts, shown = ["Read this.", "What does this ECG show?"], codes()[:2, None]
    rows = []
    for prompt, answer, ecg in zip(prompts, stated, shown):
        ids = torch.tensor([ours.prompt_ids(prompt) + answer])
        logits = ours.llm(inputs_embeds=ours.splice(ids, ours.block(ecg[None]))).logits[
            0, -len(answer) - 1 : -1, : ours.start
        ]
        rows.append(F.cross_entropy(logits, torch.tensor(answer), reduction="none"))
    torch.testing.assert_close(
        tiny.answer_loss(ours, prompts, stated, ours.block(shown)), torch.cat(rows).mean(), rtol=1e-4, atol=1e-4
    )


def test_an_answer_is_never_a_code():
    ours = model()
    with torch.no_grad():  # the output layer would rather say codes than anything else
        ours.llm.get_input_embeddings().weight[ours.start :] *= 1e3
    assert ours.write(["Read this."], codes()[:1, None])[0], "codes are left out of a text, so it would be empty"
    assert ours.logits(torch.randn(3, PROFILE.lm_width)).shape == (3, ours.start)


def test_answers_in_a_batch_are_those_one_by_one():
    ours, prompts = model(), ["Read this.", "What does this ECG show?", "Any ST elevation in V2?"]
    together = ours.write(prompts, codes()[:3, None])
    assert together == [ours.write([p], codes()[i : i + 1, None])[0] for i, p in enumerate(prompts)]
    with pytest.raises(BadRequest):
        ours.write([" "], codes()[:1, None])


# --- forecasts


def test_windows_hold_every_code_once():
    generated = codes()
    assert torch.equal(windows(generated, 1), generated)
    cut = windows(generated, 4)
    assert cut.shape == (24, generated.shape[1] // 4) and torch.equal(
        cut[:4].flatten(), generated[0, : 4 * cut.shape[1]]
    )
    whole = windows(torch.arange(100).expand(2, -1), 7, books=4)
    assert whole.shape == (14, 12) and (whole[:, 0] % 4 == 0).all(), "a window holds whole stretches"


def test_a_forecast_looks_back_only_and_its_loss_is_cross_entropy_over_codes():
    ours, generated = model(), codes()
    logits = ours.code_logits(generated)
    changed = generated.clone()
    changed[:, 20:] = (changed[:, 20:] + 1) % ours.codec.codes
    assert torch.allclose(ours.code_logits(changed)[:, :21], logits[:, :21], atol=1e-5)
    ids = torch.cat([torch.tensor([[ours.tokenizer.bos_token_id, ours.start]]).expand(6, 2), generated + ours.first], 1)
    full = ours.llm(input_ids=ids).logits[:, 1:-1, ours.first : ours.first + ours.codec.codes]
    torch.testing.assert_close(logits, full, rtol=1e-4, atol=1e-4)
    by_hand = F.cross_entropy(full.flatten(0, 1), generated.flatten())
    torch.testing.assert_close(ours.forecast_loss(generated), by_hand, rtol=1e-4, atol=1e-4)


def test_forecast_scores_have_every_scale():
    found = forecast_metrics(model(), codes(), codes())
    assert {f"diagecg.forecast_nll.{n}" for n in (90, 45, 22, 11, 5)} <= set(found)
    assert 0 <= found["diagecg.forecast_top1"] <= 1 and found["diagecg.forecast_nll.frequency"] > 0


# --- adapters


def test_only_adapters_train(tmp_path):
    ours = model()
    plain = ours.write(["Read this."], codes()[:1, None])
    ours.adapt(PROFILE.diag_rank)
    assert ours.write(["Read this."], codes()[:1, None]) == plain, "LoRA starts as nothing"
    hashes, before = ours.fingerprint(), {n: p.clone() for n, p in ours.adapters().items()}
    words = ours.llm.get_input_embeddings()(torch.arange(ours.start)).clone()
    forecast(ours, codes().short(), PLAN, 0, tmp_path / "a")
    tune(ours, corpus(), _trained().encode(patients().signal).short(), PLAN, 0, tmp_path / "b")
    assert ours.fingerprint() == hashes and len(hashes) > 20
    changed = [n for n, p in ours.adapters().items() if not torch.equal(p, before[n])]
    assert {kind for kind in ("lora_A", "lora_B", "norm", "trainable_tokens") if any(kind in n for n in changed)} == {
        *("lora_A", "lora_B", "norm", "trainable_tokens")
    }
    assert torch.equal(ours.llm.get_input_embeddings()(torch.arange(ours.start)), words)
    assert not any(p.requires_grad for p in ours.parameters())


def test_adapters_come_back_and_merge_into_the_same_model(tmp_path):
    ours = model()
    ours.adapt(PROFILE.diag_rank)
    with torch.no_grad():
        for p in ours.adapters().values():
            p.add_(0.1 * torch.randn_like(p))
    inputs = ours.splice(torch.tensor([[1, 7, 8]]), ours.block(codes()[:1, None]))
    wanted = ours.llm(inputs_embeds=inputs).logits
    ours.llm.save_pretrained(tmp_path / "adapter")
    again = load_adapters(model(), tmp_path)
    torch.testing.assert_close(again.splice(torch.tensor([[1, 7, 8]]), again.block(codes()[:1, None])), inputs)
    torch.testing.assert_close(again.llm(inputs_embeds=inputs).logits, wanted)
    forecasts = ours.code_logits(codes()[:1])
    ours.llm = ours.llm.merge_and_unload()
    torch.testing.assert_close(ours.splice(torch.tensor([[1, 7, 8]]), ours.block(codes()[:1, None])), inputs)
    torch.testing.assert_close(ours.llm(inputs_embeds=inputs).logits, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.code_logits(codes()[:1]), forecasts, rtol=1e-4, atol=1e-4)


def test_the_tuned_model_comes_back_from_disk(tmp_path):
    kept, ours = store(tmp_path), model()
    with kept.writing("diag_tokenizer") as folder:
        save_part(ours.codec, folder)
    with kept.writing("diagecg", inputs=("diag_tokenizer",)) as folder:
        ours.llm.save_pretrained(folder / "llm")
        ours.tokenizer.save_pretrained(folder / "llm")
    again = load_diagecg(kept)
    assert (again.start, again.first) == (ours.start, ours.first)
    prompts = ["Read this.", "What is the rate?"]
    assert again.write(prompts, codes()[:2, None]) == ours.write(prompts, codes()[:2, None])
    assert torch.equal(again.codec.encode(SIGNAL), codes())


# --- answers and attention


def test_background_stands_before_questions_about_one_ecg():
    request = corpus().requests[3]
    assert background(corpus(), 3) == f"Age {request.age}. Sex {request.sex}."
    assert with_background(corpus(), [3], ["Read."]) == [f"{background(corpus(), 3)} Read."]
    assert with_background(corpus(), [3], ["Read."], aware=False) == ["Read."]


def test_questions_about_one_ecg_and_two_are_all_answered():
    ours, whole = model(), corpus()
    asked = draw_questions(whole, 12, 0)
    generated = ours.codec.encode(patients().signal)
    stated = answers(ours, whole, generated, asked)
    assert len(stated) == 12 and {len(q.ecg_id) for q in asked} == {1, 2}
    i = next(i for i, q in enumerate(asked) if len(q.ecg_id) == 2)
    assert stated[i] == ours.write([asked[i].question], generated[list(asked[i].ecg_id)][None])[0]


def test_overlap_is_whole_for_the_same_words_and_less_for_others():
    texts = corpus().reports[:3]
    assert all(value == pytest.approx(1, abs=1e-4) for value in overlap(texts, texts).values())
    assert all(value < 1 for value in overlap(texts[1:] + texts[:1], texts).values())


def test_attention_is_a_share_and_waves_are_where_the_simulator_put_them():
    ours, generated = model(), codes()
    mass = attention(ours, ["Read this.", "Any ST elevation in V2 or V3?"] * 3, generated)
    assert mass.shape == generated.shape and (mass >= 0).all() and (mass.sum(1) < 1).all()
    alone = attention(ours, ["Read this."], generated[:1])
    torch.testing.assert_close(mass[:1], alone, rtol=1e-4, atol=1e-6)
    truth = {k: v[:6] for k, v in patients().truth.items()}
    waves = token_waves(truth, generated.shape[1], 1000)
    assert waves.shape == (6, 4, generated.shape[1]) and waves.min() >= 0 and waves.max() <= 1
    stride = 1000 // generated.shape[1]
    onset = truth["onset_s"][0][truth["onset_s"][0].isfinite()]
    assert (waves[0, 1, ((onset + 0.02) * 100 // stride).long().clamp(max=generated.shape[1] - 1)] > 0).all()


def test_attention_scores_name_every_question_wave_and_control():
    few = copy.copy(patients())
    few.signal, few.truth = few.signal[:6], {k: v[:6] for k, v in few.truth.items()}
    found = attention_metrics(model(), few, codes(), control=model())
    assert len(found) == 3 * (4 * 4 + 1)
    assert found["diagecg.attention.own"] == pytest.approx(found["diagecg.attention.untrained.own"], abs=1e-6)


def test_real_records_are_read_and_told_again(tmp_path):
    rows = ["record,hr_bpm_nk,hr_bpm_nk_pantompkins"]
    for i, about in enumerate(({}, {"age": 63, "sex": "female"})):
        ECG(SIGNAL[i].numpy(), 100.0, **about).save(tmp_path / f"r{i}")
        rows.append(f"r{i},80,80")
    (tmp_path / "manifest.csv").write_text("\n".join([*rows, "lost,70,70"]) + "\n")
    found = real_metrics(model(), tmp_path)
    assert found["diagecg.real_records"] == 2 and found["diagecg.real_refused"] == 1
    assert found["diagecg.real_hr_median_error_bpm"] >= 0
    assert 0 < found["diagecg.real_reconstruction_rmse_mv"] < 1


def test_a_folder_whose_records_cannot_be_read_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "manifest.csv").write_text("record,hr_bpm_nk,hr_bpm_nk_pantompkins\nlost,70,70\n")
    with pytest.raises(BadECG, match="None of these records"):
        real_metrics(model(), tmp_path)


def test_another_language_model_gets_the_same_words():
    from transformers import AutoModelForCausalLM, GPT2Config

    words = tokenizer()
    torch.manual_seed(1)
    ends = dict(bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id)
    sizes = GPT2Config(vocab_size=len(words), n_embd=32, n_layer=1, n_head=2, n_positions=512, **ends)
    ours = DiagECG(AutoModelForCausalLM.from_config(sizes, attn_implementation="eager"), words, _trained()).eval()
    ours.adapt(2)
    assert {kind for kind in ("lora_A", "ln_1", "trainable_tokens") if any(kind in n for n in ours.adapters())} == {
        *("lora_A", "ln_1", "trainable_tokens")
    }
    assert tiny.answer_loss(ours, ["Read this."], [[9, 2]], ours.block(codes()[:1, None])).isfinite()


# --- studies


def test_a_joint_tokenizer_has_about_as_many_parameters():
    from uniecg_lite.config import LAPTOP
    from uniecg_lite.studies.diag import codec_of

    ours, joint = (sum(p.numel() for p in codec_of(LAPTOP, v).parameters()) for v in ("ours", "joint"))
    assert 0.85 < joint / ours < 1.15


def test_claims_need_three_seeds_and_a_gain_in_each(tmp_path):
    from uniecg_lite.studies.study import cell_path, claim_metrics, verdicts, write_cell

    def cells(gains):
        for seed, gain in enumerate(gains):
            for variant in ("full", "unforecast", "unknown", "vectors"):
                value = 0.5 + gain * (variant == "full")
                names = ("qa_exact_match", "qa_exact_match.open", "findings_macro_f1")
                aware = {f"diagecg.{name}": value for name in names}
                cell = {"variant": variant, "seed": seed, "settings": {}, "metrics": aware}
                write_cell(cell_path("diagecg", "smoke", variant, seed, tmp_path), cell)
        return {name: c["verdict"] for name, c in verdicts(claim_metrics("diag", "smoke", tmp_path)).items()}

    three = ("D3", "D4", "D7")
    assert cells([0.1, 0.2]) == dict.fromkeys(three, "not testable here")
    assert cells([0.1, 0.2, 0.3]) == dict.fromkeys(three, "reproduced")
    assert cells([0.1, -0.2, 0.3]) == dict.fromkeys(three, "not reproduced")
