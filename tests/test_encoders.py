"""encoders: shapes, the CoCa loss against a hand computation, and what must not matter to a token."""

import math
from dataclasses import replace

import pytest
import tiny
import torch

from uniecg_lite import cohort
from uniecg_lite.checkpoints import new_encoders
from uniecg_lite.config import Training
from uniecg_lite.ecg_image import raster
from uniecg_lite.encoders import FactProbes, amplify_small_waves, targets
from uniecg_lite.findings import CODES
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.stages import CachedTokens
from uniecg_lite.training import TrainingLoop

WIDTH = tiny.PROFILE.enc_width
coca = tiny.defined_in("02_encoders")  # text decoder and losses


@pytest.fixture(scope="module")
def encoders():
    torch.manual_seed(0)
    return tuple(part.eval() for part in new_encoders(tiny.PROFILE))


@pytest.fixture(scope="module")
def captioner():
    torch.manual_seed(1)
    return coca.Captioner(len(tiny.tokenizer()), WIDTH).eval()


@pytest.fixture(scope="module")
def ids():
    return coca.report_ids(tiny.tokenizer(), tiny.corpus().reports[:6])


def signal(n: int = 6) -> torch.Tensor:
    return tiny.patients().signal[:n]


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("layers", [1, 2])
def test_tokens_have_the_declared_shape(width, layers):
    phi_s, phi_v = new_encoders(replace(tiny.PROFILE, enc_width=width, enc_layers=layers))
    for n in (1, 3):
        assert phi_s(signal(n)).shape == (n, phi_s.tokens, width)
        assert phi_v(raster(signal(n))).shape == (n, phi_v.tokens, width)


def test_the_offset_of_a_lead_does_not_matter(encoders):
    phi_s, phi_v = encoders
    offset = torch.randn(6, 12, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(phi_s(signal() + offset), phi_s(signal()), atol=1e-4, rtol=1e-4)
        moved, still = (raster(x).float() for x in (signal() + offset, signal()))
        assert (moved - still).abs().max() <= 4, "the drawing is centred too, up to the rounding of the ink"


def test_a_beat_matters(encoders):
    phi_s, phi_v = encoders
    changed = signal().clone()
    changed[:, :, 480:520] *= -1
    with torch.no_grad():
        assert (phi_s(changed) - phi_s(signal())).abs().amax((1, 2)).min() > 1e-3
        assert (phi_v(raster(changed)) - phi_v(raster(signal()))).abs().amax((1, 2)).min() > 1e-3


def test_the_signal_encoder_has_a_summary_measurements_a_rhythm_a_beat_and_a_record(encoders):
    phi_s, phi_v = encoders
    assert phi_v.tokens == 1 + 18 + 40
    assert phi_s.tokens == 1 + 18 + 1 + 7 + 25 and phi_s.beat.tokens == 1 + 7
    with torch.no_grad():
        tokens, seen = phi_s.beat(signal())
    assert tokens.shape == (6, 8, WIDTH) and seen.shape == (6, phi_s.beat.features)


def test_the_beat_is_the_same_wherever_a_record_begins(encoders):
    """Two windows of one steady, noise-free heart: beat tokens agree, tokens along the record do not."""
    phi_s, _ = encoders
    generated = simulate(4, torch.arange(60), seconds=13.0, noise=False)
    steady = generated.truth["findings"][:, CODES.index("NORM")]
    whole = generated.signal[steady]
    early, late = whole[..., :1000], whole[..., 230:1230]
    with torch.no_grad():
        (beat, _), (again, _) = phi_s.beat(early), phi_s.beat(late)
        others = beat[:, 1:].roll(1, 0)
        record = (phi_s(early) - phi_s(late))[:, 27:]
    own = (beat - again)[:, 1:].square().mean((1, 2)).sqrt()
    other = (beat[:, 1:] - others).square().mean((1, 2)).sqrt()
    assert len(whole) > 2 and own.mean() < 0.25 * other.mean() and record.square().mean((1, 2)).sqrt().min() > own.max()


def test_a_flat_record_has_tokens_too(encoders):
    phi_s, phi_v = encoders
    with torch.no_grad():
        assert (
            phi_s(torch.zeros(2, 12, 1000)).isfinite().all()
            and phi_v(raster(torch.zeros(2, 12, 1000))).isfinite().all()
        )


def test_an_ecg_does_not_depend_on_the_batch(encoders):
    phi_s, phi_v = encoders
    with torch.no_grad():
        for phi, x in ((phi_s, signal()), (phi_v, raster(signal()))):
            torch.testing.assert_close(phi(x)[2:3], phi(x[2:3]), atol=1e-5, rtol=1e-5)


def test_small_waves_are_magnified():
    x = torch.zeros(1, 12, 1000)
    x[:, :, 100:110], x[:, :, 500:510] = 0.1, 1.0
    out = amplify_small_waves(x)
    assert out.shape == (1, 24, 1000)
    assert torch.equal(out[:, :12], x)
    ratio = out[0, 12, 100] / out[0, 12, 500]
    assert ratio.item() == pytest.approx(math.tanh(0.6) / math.tanh(6), abs=1e-5), "0.1 mV next to 1 mV: over a half"


# --- the loss


def by_hand(captioner, views, ids, pad) -> tuple[float, float]:
    """Contrast and captions, one pair and one word at a time, in double precision."""
    temperature = math.exp(captioner.temperature.item())
    n, length = len(ids), (ids != pad).sum(1).tolist()
    contrast = caption = 0.0
    for tokens in views:
        sentence, words, count = [], 0.0, 0
        for i in range(n):
            row = ids[i : i + 1, : length[i]]  # without its padding
            text = captioner.encode_text(row)
            sentence.append(text[0, -1].double())
            states = captioner.predict(text[:, :-1], tokens[i : i + 1])[0].double()
            scores = states @ captioner.embed.weight.double().T
            for t in range(length[i] - 1):
                words -= (scores[t] - scores[t].logsumexp(0))[row[0, t + 1]].item()
                count += 1
        table = [
            [temperature * torch.cosine_similarity(tokens[i, 0].double(), s, dim=0).item() for s in sentence]
            for i in range(n)
        ]
        for i in range(n):
            column = [row[i] for row in table]
            for line in (table[i], column):
                contrast -= (line[i] - math.log(sum(math.exp(x) for x in line))) / (2 * n)
        caption += words / count
    return contrast / len(views), caption / len(views)


def views_of(encoders) -> list[torch.Tensor]:
    return [encoders[0](signal()), encoders[1](raster(signal()))]


@torch.no_grad()
@pytest.mark.parametrize("which", [slice(0, 1), slice(1, 2), slice(0, 2)], ids=["signal", "image", "both"])
def test_coca_loss_equals_the_sum_by_hand(encoders, captioner, ids, which):
    pad, views = tiny.tokenizer().pad_token_id, views_of(encoders)[which]
    found = coca.coca_loss(captioner, views, ids, pad)
    contrast, caption = by_hand(captioner, views, ids, pad)
    assert found["contrast"].item() == pytest.approx(contrast, abs=1e-5, rel=1e-5)
    assert found["caption"].item() == pytest.approx(caption, abs=1e-5, rel=1e-5)
    assert found["loss"].item() == pytest.approx(contrast + 2 * caption, abs=1e-4)


@torch.no_grad()
def test_padding_of_reports_does_not_change_the_loss(encoders, captioner, ids):
    pad, views = tiny.tokenizer().pad_token_id, views_of(encoders)
    assert (ids == pad).any(), "the reports differ in length"
    longer = torch.nn.functional.pad(ids, (0, 7), value=pad)
    for key, value in coca.coca_loss(captioner, views, ids, pad).items():
        torch.testing.assert_close(coca.coca_loss(captioner, views, longer, pad)[key], value, atol=1e-5, rtol=1e-5)


def test_gradients_reach_both_encoders_and_every_part_of_the_captioner(captioner, ids):
    torch.manual_seed(0)
    phi_s, phi_v = new_encoders(tiny.PROFILE)
    parts = coca.coca_loss(captioner, [phi_s(signal()), phi_v(raster(signal()))], ids, tiny.tokenizer().pad_token_id)
    parts["loss"].backward()
    for module in (phi_s, phi_v, captioner):
        silent = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not [name for name in silent if "in_proj_bias" not in name and "place" not in name]
    captioner.zero_grad(set_to_none=True)


# --- the captioner


@torch.no_grad()
def test_later_words_do_not_change_earlier_states(encoders, captioner, ids):
    tokens, cut = views_of(encoders)[0], 9
    changed = ids.clone()
    changed[:, cut:] = torch.randint(3, len(tiny.tokenizer()), changed[:, cut:].shape)
    text, other = captioner.encode_text(ids), captioner.encode_text(changed)
    torch.testing.assert_close(text[:, :cut], other[:, :cut], atol=1e-6, rtol=1e-6)
    written, rewritten = captioner.predict(text, tokens), captioner.predict(other, tokens)
    torch.testing.assert_close(written[:, :cut], rewritten[:, :cut], atol=1e-6, rtol=1e-6)
    assert (written[:, cut:] - rewritten[:, cut:]).abs().max() > 1e-3


@torch.no_grad()
def test_the_lower_half_reads_text_alone_and_the_upper_half_looks(encoders, captioner, ids):
    text = captioner.encode_text(ids)
    one, two = (captioner.predict(text, view) for view in (views_of(encoders)[0], views_of(encoders)[0].flip(0)))
    assert (one - two).abs().max() > 1e-4, "another ECG, other words"


def test_report_ids_hold_each_report_between_begin_and_end(ids):
    words = tiny.tokenizer()
    for row, text in zip(ids, tiny.corpus().reports):
        row = row[row != words.pad_token_id].tolist()
        assert row[0] == words.bos_token_id and row[-1] == words.eos_token_id
        assert words.decode(row[1:-1]) == text


@torch.no_grad()
def test_retrieval_counts_nearest_reports(captioner, ids):
    pad = tiny.tokenizer().pad_token_id
    sentence = captioner.encode_text(ids)[torch.arange(6), (ids != pad).sum(1) - 1]
    assert coca.retrieval(sentence[:, None], captioner, ids, pad) == 1
    swapped = sentence[[1, 0, 2, 3, 4, 5], None]
    assert coca.retrieval(swapped, captioner, ids, pad) == pytest.approx(4 / 6)


# --- training


def test_encoders_learn_and_are_frozen(tmp_path):
    table = cohort.load(cohort.write(cohort.simulated(0, 60), tmp_path / "splits"), "train")
    words = tiny.tokenizer()
    from uniecg_lite.language.conversations import Corpus

    reports = coca.report_ids(words, Corpus(table.truth()).reports)
    torch.manual_seed(0)
    phi_s, phi_v = new_encoders(tiny.PROFILE)
    text = coca.Captioner(len(words), WIDTH)
    plan = Training(12, 8, 3e-3, warmup=2)
    probes = torch.nn.ModuleList(FactProbes(WIDTH) for _ in range(2))
    parts = torch.nn.ModuleDict({"phi_s": phi_s, "phi_v": phi_v, "captioner": text, "probes": probes})
    facts, loop = targets(table.truth()), TrainingLoop(parts, plan, 0, tmp_path / "run")
    for step in loop:
        rows = step.rows(len(table))
        mine = {name: value[rows] for name, value in facts.items()}
        step.learn(**coca.encoder_loss(parts, table.signal(rows), reports[rows], mine, words.pad_token_id, step.number))
    history = loop.history
    assert history["caption"][-1] < history["caption"][0] and len(history["contrast"]) == len(history["loss"])
    assert not any(p.requires_grad for part in (phi_s, phi_v, text) for p in part.parameters())
    kept = CachedTokens.encode(phi_s, phi_v, table, batch=16)
    rows = [3, 1]
    tokens, image = kept.get(rows, "both")
    torch.testing.assert_close(tokens, phi_s(table.signal(rows)), atol=0.03, rtol=0.03)
    torch.testing.assert_close(image, phi_v(raster(table.signal(rows))), atol=0.03, rtol=0.03)
    assert kept.get(rows, "signal")[1] is None and kept.get(rows, "image")[0] is None
