"""Tests of the answers to notebook 07: how much trains, replaced rows, and the two ways to be wrong; a quick check."""

import torch


def _use(answer) -> bool:
    table = torch.arange(12.0).view(6, 2)
    delta = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]], requires_grad=True)
    kept = table.clone()
    out = answer(table, delta, [4, 1])
    right = kept.clone()
    right[4], right[1] = delta.detach()
    out.sum().backward()
    return torch.equal(out.detach(), right) and torch.equal(table, kept) and torch.equal(delta.grad, torch.ones(2, 2))


def _rates(answer) -> bool:
    cases = [
        ([True, False, True, False], [True, True, False, False], (0.5, 0.5)),
        ([True, False, False, False, False], [False, False, False, False, True], (0.25, 1.0)),
        ([True, False], [True, False], (0.0, 0.0)),
    ]
    return all(
        len(answer(generated, wanted)) == 2 and all(abs(a - b) < 1e-6 for a, b in zip(answer(generated, wanted), right))
        for generated, wanted, right in cases
    )


EXERCISES = {
    "07.1": (
        lambda answer: answer == 65536,
        "One row for reading and one for writing, for each token.",
        "2 tables x 8 tokens x 4,096.",
    ),
    "07.2": (
        _use,
        "Assigning into `table` changes it: make a new tensor.",
        "torch.Tensor.index_copy(0, ids as a tensor, delta) returns a copy.",
    ),
    "07.3": (
        _rates,
        "Divide by the number of prompts of that kind, not by all.",
        "False generate: made among those not wanted. False interpret: not made among those wanted.",
    ),
    "07.4": (
        lambda answer: answer == "c",
        "Old rows are not in the optimizer; but is a row without a target without a gradient?",
        "The gradient on a score is p for each token that is not the target.",
    ),
    "07.5": (
        lambda answer: answer == "b",
        "What does the score of an old word depend on?",
        "On the state and on its own row: are there other bytes in either?",
    ),
}
