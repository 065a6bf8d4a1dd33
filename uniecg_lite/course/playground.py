"""Try the model by hand: words, seed and guidance -> an ECG, its lead laws, and what the model reads in it."""

import textwrap

import ipywidgets as widgets

from ..drawing import alt_text, figure, show
from ..ecg import ECG
from ..errors import UniECGError
from ..leads import lead_law_residual
from ..metrics.chain import PROMPT
from ..model import UniECG

EXAMPLE = "Make an ECG: 63-year-old woman, atrial fibrillation, 120 bpm"


def trial(model: UniECG, prompt: str, seed: int = 0, guidance: float | None = None) -> tuple[ECG, str]:
    """Make an ECG from a prompt, whatever the model decides, and let the same model read it.

    Args:
        model: a finished model with its generator (`UniECG.from_pretrained`).
        prompt: the ECG in words.
        seed: of the noise that the ECG is made from.
        guidance: how hard the words push; None for the model's own.

    Returns:
        The ECG; and in words how far its lead laws are broken, what the model reads in it, and its answer in case that
        it would not have made an ECG by itself.

    Raises:
        BadRequest, BadECG, BadArtifact.
    """
    answer = model.write([prompt])
    ecg = model.generator.make(model.conditions([prompt]), seed, guidance=guidance)[0]
    residual, report = float(lead_law_residual(ecg.signal)), model.respond(PROMPT, ecg=ecg).text
    note = f"lead laws broken by {residual:.4f} mV; read back: {report or 'nothing'}"
    if not model.ecg_ids or model.ecg_ids[0] not in answer[0]:
        note += f"\nleft to itself, the model would have answered in words: {model.texts(answer)[0] or 'nothing'}"
    return ecg, note


def panel(model: UniECG) -> widgets.interactive:
    """Prompt, seed and guidance above the ECG they make, its lead laws and the report read back.

    Educational, not for diagnosis. Bad input shows one sentence, never a traceback.
    """

    def make(ask: str, seed: int, guidance: float) -> None:
        try:
            ecg, note = trial(model, ask, seed, guidance)
            show(figure(ecg, textwrap.shorten(ask, 110, placeholder=" ...")), alt_text(ecg))
        except UniECGError as reason:
            note = str(reason)
        print(note)

    words = widgets.Textarea(EXAMPLE, layout=widgets.Layout(width="640px", height="60px"))
    push = widgets.FloatSlider(model.generator.guidance, min=0.0, max=6.0, step=0.5)
    by_hand = {"manual": True, "manual_name": "make"}
    return widgets.interactive(make, by_hand, ask=words, seed=widgets.IntSlider(0, 0, 99), guidance=push)
