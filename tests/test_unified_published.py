"""GEM's token counts follow from its published patches, as the libraries' own layers cut them."""

import pytest
import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from uniecg_lite.errors import BadRequest
from uniecg_lite.unified.published import GEM


def test_one_ecg_takes_101_and_576_positions():
    assert (GEM().signal_tokens, GEM().image_tokens, GEM().positions) == (101, 576, 677)


def test_a_strided_convolution_cuts_as_many_signal_patches():
    gem = GEM()
    with torch.device("meta"):
        cut = nn.Conv1d(12, gem.signal_width, gem.signal_patch, gem.signal_patch)
        patches = cut(torch.empty(1, 12, gem.samples))
    assert patches.shape[-1] + 1 == gem.signal_tokens


def test_clip_cuts_as_many_image_patches():
    gem = GEM()
    config = CLIPVisionConfig(
        hidden_size=gem.image_width, intermediate_size=64, num_hidden_layers=2, num_attention_heads=16,
        image_size=gem.image_side, patch_size=gem.image_patch,
    )  # fmt: skip
    with torch.device("meta"):
        model = CLIPVisionModel(config)
        seen = model(torch.empty(1, 3, gem.image_side, gem.image_side), output_hidden_states=True)
    assert seen.hidden_states[-2][:, 1:].shape == (1, gem.image_tokens, gem.image_width), "last but one, no summary"


def test_both_kinds_of_tokens_reach_the_width_of_the_language_model():
    gem = GEM()
    with torch.device("meta"):
        projections = gem.projections()
        signal = projections["shared"](projections["signal"](torch.empty(1, gem.signal_tokens, gem.signal_width)))
        image = projections["shared"](torch.empty(1, gem.image_tokens, gem.image_width))
    assert torch.cat([signal, image], 1).shape == (1, 677, 4096)


def test_patches_that_do_not_fill_the_record_are_refused():
    with pytest.raises(BadRequest, match="divisor"):
        GEM(samples=4999).signal_tokens  # noqa: B018
