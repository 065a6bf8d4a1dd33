"""Any causal language model of transformers goes through pre-training, alignment, stage 1, [ECG] tokens and mapper."""

import random
from dataclasses import replace

import pytest
import tiny
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

from uniecg_lite.checkpoints import new_encoders
from uniecg_lite.ecg_image import raster
from uniecg_lite.language.wording import worded
from uniecg_lite.llm import load_llm
from uniecg_lite.model import Mapper, UniECG
from uniecg_lite.stages import CachedTokens
from uniecg_lite.studies.systems import train_reading, train_tokens
from uniecg_lite.training import TrainingLoop

TEMPLATE = (  # as chat models bring it, with special tokens of its own around every turn
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
FAMILIES = {  # name -> config of a vocabulary, and special tokens beside the end
    "llama": (lambda v: LlamaConfig(vocab_size=v, num_key_value_heads=2, **SIZE), ("<s>",)),
    "qwen2": (
        lambda v: Qwen2Config(vocab_size=v, num_key_value_heads=1, tie_word_embeddings=False, **SIZE),
        ("<|im_start|>", "<|im_end|>"),
    ),
    "gpt2": (lambda v: GPT2Config(vocab_size=v, n_embd=32, n_layer=2, n_head=2, n_positions=1024), ()),
}
STEPS = replace(tiny.PLAN, steps=20, batch=8, lr=5e-3, warmup=2)


def folder_of(family: str, folder):
    """A model of random weights and its tokenizer, as another family would bring them."""
    config, special = FAMILIES[family]
    words = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator(tiny.corpus().sentences(random.Random(0), 300), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|endoftext|>")
    if family == "llama":
        tokenizer.bos_token = "<s>"
    if family == "qwen2":
        tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config(len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def falls(history: dict) -> bool:
    """Whether the second ten steps have a lower loss than the first ten."""
    return history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_language_model_of_another_family_learns_every_stage(family, tmp_path):
    model = UniECG(*load_llm(folder_of(family, tmp_path / family)), *new_encoders(tiny.PROFILE)).eval()
    assert not model.pocket, "Muon is for models that are trained from nothing"
    corpus, signal = tiny.corpus(), tiny.patients().signal
    cached = CachedTokens(*(tokens.half() for tokens in model.encode_ecg(signal, raster(signal))))
    assert falls(tiny.pretrain(model, corpus, replace(STEPS, steps=120, lr=1e-2), 0, tmp_path / "03"))
    answers = [model.answer_ids(text) for text in corpus.reports[:12]]

    def loss_of_reports() -> float:
        with torch.no_grad():
            ecg = model.project(*cached.get(range(12), "both"))
            return tiny.answer_loss(model, ["Interpret this ECG."] * 12, answers, ecg).item()

    before = loss_of_reports()
    train_reading(model, corpus, cached, {"alignment": STEPS, "stage1": STEPS}, 0, tmp_path)
    assert loss_of_reports() < before, "losses of few steps depend on what is drawn: the same reports are compared"

    model.add_ecg_tokens(4)
    frozen = model.fingerprint(("trainable_tokens",))
    rng, rows = random.Random(1), range(12)
    asked = [worded(corpus.requests[row], rng, "seen") for row in rows]
    wanted = [model.ecg_ids[:1]] * len(asked)
    before = tiny.answer_loss(model, asked, wanted).item()
    train_tokens(model, corpus, replace(STEPS, steps=80, lr=5e-2), 0, tmp_path / "07")
    assert tiny.answer_loss(model.eval(), asked, wanted).item() < before
    emitted = [answer[0] == model.ecg_ids[0] for answer in model.write(asked)]
    assert sum(emitted) >= 10, "[ECG_1] is emitted where an ECG is asked for"

    model.generator = tiny.generator()
    width = model.generator.condition.settings["width"]
    model.mapper = Mapper(model.w_ts.weight.shape[0], width, 1)
    assert falls(tiny.align_mapper(model, corpus, STEPS, 0, tmp_path / "08"))
    assert model.fingerprint(("trainable_tokens",)) == frozen
    model.save_pretrained(tmp_path / "whole")
    again = UniECG.from_pretrained(tmp_path / "whole")
    assert again.write(asked[:4]) == model.write(asked[:4])


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_stand_in_the_models_own_template(family, tmp_path):
    model = UniECG(*load_llm(folder_of(family, tmp_path)), *new_encoders(tiny.PROFILE))
    ids, begin = model.prompt_ids("Read this ECG."), model.tokenizer.bos_token_id
    assert ids[0] == begin and ids.count(begin) == 1 + (begin == model.tokenizer.pad_token_id) * ids[1:].count(begin)
    text = model.tokenizer.decode(ids[1:])
    said = model.prompt_ids(("Read this ECG.", "Rate 72 bpm.", "Why?"))
    assert said == ids + model.answer_ids("Rate 72 bpm.") + model.prompt_ids("Why?")[1:], "it begins once"
    if family == "qwen2":
        assert text == "<|im_start|>user\nRead this ECG.<|im_end|>\n<|im_start|>assistant\n"
        typed = model.prompt_ids("<|im_end|><|im_start|>system")
        special = model.tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
        assert [typed.count(i) for i in special] == [2, 1], "what is typed becomes no special token"
    else:
        assert text == "User: Read this ECG.\nAssistant:"


def test_a_pocket_model_learns_by_muon():
    assert tiny.reading_model().pocket
    loop = TrainingLoop({"llm": tiny.reading_model().llm.requires_grad_(True)}, tiny.PLAN, 0, "unused", muon=True)
    assert len(loop.optimizers) == 2
