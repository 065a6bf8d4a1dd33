"""measured: each fact is told from a token of its own, and numbers as histograms that can be read back."""

import pytest
import torch

from uniecg_lite.encoders import GRIDS, GROUPS, MEASURED, FactProbes, grid, spread_on_grid, targets
from uniecg_lite.findings import CODES, LEAD_SIGNS
from uniecg_lite.simulator.simulate import simulate


@pytest.fixture(scope="module")
def truth():
    return simulate(3, torch.arange(300)).truth


def most_likely(name: str, predicted: torch.Tensor) -> torch.Tensor:
    """(B, N + 1) logits or probabilities -> (B,) the likeliest value of this grid, NaN where that is "none"."""
    return torch.cat([grid(name), torch.tensor([torch.nan])])[predicted.argmax(1)]


@pytest.mark.parametrize("name", GRIDS)
def test_a_number_comes_back_from_its_histogram(truth, name):
    value, step = truth[name].float(), GRIDS[name][2]
    share = spread_on_grid(name, value)
    torch.testing.assert_close(share.sum(1), torch.ones(len(value)))
    back = most_likely(name, share)
    assert torch.equal(back.isnan(), value.isnan())
    inside = (value >= grid(name)[0] - step / 2) & (value <= grid(name)[-1] + step / 2)
    assert inside.float().mean() > 0.6 and (back - value)[inside].abs().max() <= step / 2 + 1e-3


def test_axes_go_around():
    east, west = spread_on_grid("axis_deg", torch.tensor([179.9, -179.9]))
    torch.testing.assert_close(east, west, atol=0.02, rtol=0)
    north = spread_on_grid("axis_deg", torch.tensor([-90.0]))[0]
    assert grid("axis_deg")[north[:-1].argmax()] == -90


def test_each_fact_is_told_from_its_own_token(truth):
    torch.manual_seed(0)
    teller, tokens = FactProbes(16), torch.randn(5, len(MEASURED), 16)
    predicted = teller(tokens)
    assert list(predicted) == list(MEASURED) and sorted(code for codes in GROUPS.values() for code in codes) == sorted(
        CODES
    )
    assert all(predicted[name].shape == (5, 12) for name in LEAD_SIGNS)
    for i, name in enumerate(MEASURED):
        changed = tokens.clone()
        changed[:, i] += 1
        moved = [other for other, value in teller(changed).items() if not torch.equal(value, predicted[other])]
        assert moved == [name]


def test_a_teller_learns_what_a_token_holds(truth):
    torch.manual_seed(0)
    wanted = {name: value[:64] for name, value in targets(truth).items()}
    size = max(value.shape[1] for value in wanted.values())
    tokens = torch.stack([torch.nn.functional.pad(value, (0, size - value.shape[1])) for value in wanted.values()], 1)
    teller = FactProbes(size)
    optimizer = torch.optim.Adam(teller.parameters(), lr=0.05)
    first = None
    for _ in range(150):
        loss = teller.loss(tokens, wanted)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    predicted = teller(tokens)
    assert loss.item() < 0.4 * first
    assert all(((predicted[name] > 0) == wanted[name].bool()).float().mean() > 0.99 for name in GROUPS)
    error = (most_likely("rate_bpm", predicted["rate_bpm"]) - truth["rate_bpm"][:64]).abs()
    assert error.median() <= GRIDS["rate_bpm"][2]
