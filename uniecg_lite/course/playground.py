"""Try the model by hand: words, seed and guidance -> an ECG, its lead laws, and what the model reads in it."""

import textwrap
from dataclasses import dataclass
from html import escape

import ipywidgets as widgets
from matplotlib.figure import Figure

from ..drawing import alt_text, figure, png
from ..ecg import ECG
from ..errors import UniECGError
from ..leads import lead_law_residual
from ..metrics.chain import PROMPT
from ..model import UniECG

EXAMPLE = "Make an ECG: 63-year-old woman, atrial fibrillation, 120 bpm"


@dataclass(frozen=True)
class Trial:
    """One turn around the loop: words to an ECG, and back to words."""

    prompt: str
    ecg: ECG
    residual_mv: float  # how far the lead laws are broken
    report: str  # what the model reads in its own ECG
    words: str | None  # what it answers when it would not have made an ECG


def trial(model: UniECG, prompt: str, seed: int = 0, guidance: float | None = None) -> Trial:
    """Make an ECG from a prompt, whatever the model decides, and let the same model read it.

    Args:
        model: a finished model with its generator (`UniECG.from_pretrained`).
        prompt: the ECG in words.
        seed: of the noise that the ECG is made from.
        guidance: how hard the words push; None for the model's own.

    Raises:
        BadRequest, BadECG, BadArtifact.
    """
    answer = model.write([prompt])
    decided = bool(model.ecg_ids) and model.ecg_ids[0] in answer[0]
    ecg = model.generator.make(model.conditions([prompt]), seed, guidance=guidance)[0]
    return Trial(
        prompt,
        ecg,
        float(lead_law_residual(ecg.signal)),
        model.respond(PROMPT, ecg=ecg).text,
        None if decided else model.texts(answer)[0],
    )


def static(model: UniECG, prompt: str = EXAMPLE, seed: int = 0, guidance: float | None = None) -> Figure:
    """The made ECG on paper with the lead-law residual and the report read back: the panel without widgets."""
    return draw(trial(model, prompt, seed, guidance))


def draw(turn: Trial) -> Figure:
    """A trial as a figure."""
    fig = figure(turn.ecg, title=textwrap.shorten(turn.prompt, 110, placeholder=" ..."))
    note = f"lead laws broken by {turn.residual_mv:.4f} mV. Read back: {turn.report or 'nothing'}"
    lines = textwrap.wrap(textwrap.shorten(note, 330, placeholder=" ..."), 120)
    fig.text(0.42, 0.012, "\n".join(lines), fontsize=6, va="bottom", color="#4a5f94")
    return fig


def panel(model: UniECG) -> widgets.VBox:
    """Prompt, seed and guidance beside the ECG they make, its lead laws and the report read back.

    Educational, not for diagnosis. Bad input shows one sentence, never a traceback.
    """
    prompt = widgets.Textarea(EXAMPLE, description="ask", layout=widgets.Layout(width="640px", height="60px"))
    seed = widgets.IntSlider(0, 0, 99, description="seed", continuous_update=False)
    guidance = widgets.FloatSlider(
        model.generator.guidance, min=0.0, max=6.0, step=0.5, description="guidance", continuous_update=False
    )
    button = widgets.Button(description="make", button_style="primary")
    page, stated = widgets.Image(format="png"), widgets.HTML()

    def make(_=None):
        try:
            turn = trial(model, prompt.value, seed.value, guidance.value)
        except UniECGError as reason:
            page.value, stated.value = b"", _html(str(reason))
            return
        page.value, page.tooltip = png(draw(turn)), alt_text(turn.ecg)
        lines = [f"Lead laws broken by {turn.residual_mv:.4f} mV.", f"Read back: {turn.report or 'nothing'}"]
        if turn.words is not None:
            lines.insert(0, f"Left to itself, the model would have answered in words: {turn.words or 'nothing'}")
        stated.value = _html(*lines)

    button.on_click(make)
    for slider in (seed, guidance):
        slider.observe(make, "value")
    return widgets.VBox([prompt, widgets.HBox([seed, guidance, button]), page, stated])


def _html(*lines: str) -> str:
    """Lines as HTML; what a user or a model wrote stays text."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines)
