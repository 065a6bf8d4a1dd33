"""What sets our generator apart from the published one: each choice is one switch, each of its faults a name."""

from dataclasses import dataclass, replace

from ..errors import BadRequest

SHRUNK = 0.171  # spread of the published latents after their constant 0.18215
LEFT = 0.3  # spread of what a sketch leaves of unit latents
_CHOICES = {
    "family": ("unet", "transformer"),
    "words": ("film", "tiled", "tokens"),
    "numbers": ("words", "scaled", "raw"),
    "path": ("flow", "epsilon", "v"),
}


@dataclass(frozen=True)
class Design:
    """How a generator is built, trained and sampled; the defaults are ours, `PUBLISHED` is DiffuSETS at our size.

    Raises:
        BadRequest: a choice that does not exist, or two that exclude each other.
    """

    family: str = "unet"  # or a diffusion transformer on patched latents
    words: str = "film"  # `tiled`: attention to copies of one vector; `tokens`: attention to a vector per word
    numbers: str = "words"  # rate, age and sex in the text's vector; `scaled` or `raw`: three numbers beside it
    paced: bool = True  # a rhythm says where the beats fall and the denoiser is shown them; False: zeros instead
    sketched: bool = True  # the usual beat is said and laid out first, the denoiser draws the rest; False: draws all
    path: str = "flow"  # flow matching; `epsilon`, `v`: DDPM with 1000 levels, saying the noise or the velocity
    unit_latents: bool = True  # False: spread `SHRUNK`
    free_leads: bool = False  # True: the VAE speaks in twelve leads, and nothing ties them
    guided: bool = True  # one condition in ten is dropped in training, and sampling is guided
    averaged: bool = True  # the moving average of the weights is kept
    all_levels: bool = True  # False: the first and the last of 1000 levels are never trained
    ancestral: bool = False  # True: 1000 random steps of DDPM; False: a few steps of a solver

    def __post_init__(self):
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise BadRequest(f"There is no {name} '{getattr(self, name)}': choose one of {', '.join(known)}.")
        if self.ancestral and self.path == "flow":
            raise BadRequest("Ancestral steps need the levels of DDPM: set path to 'epsilon' or 'v' as well.")
        if self.words == "tokens" and self.numbers != "words":
            raise BadRequest("Attention to words needs the numbers among them: set numbers to 'words'.")
        if self.family == "transformer" and self.words != "film":
            raise BadRequest("The diffusion transformer takes one vector: set words to 'film'.")
        if self.paced and (self.numbers != "words" or self.words == "tokens"):
            raise BadRequest("The rhythm needs one vector that tells the rate: set paced to False as well.")
        if self.sketched and not self.paced:
            raise BadRequest("A sketch lays its beats where the rhythm says: set sketched to False as well.")

    @property
    def spread(self) -> float:
        """What latents, less a sketch's, are multiplied by, so that the denoiser sees unit spread, or `SHRUNK`."""
        return (1.0 if self.unit_latents else SHRUNK) / (LEFT if self.sketched else 1.0)


FAULTS = {  # `ancestral` is to be compared with path="epsilon", `raw` with `unpaced`, the others with our defaults
    "shrunk": {"unit_latents": False},
    "unsketched": {"sketched": False},
    "unpaced": {"paced": False, "sketched": False},
    "raw": {"numbers": "raw", "paced": False, "sketched": False},
    "tiled": {"words": "tiled"},
    "unguided": {"guided": False},
    "last_weights": {"averaged": False},
    "no_ends": {"all_levels": False},
    "ancestral": {"path": "epsilon", "ancestral": True},
    "free_leads": {"free_leads": True},
}


def with_faults(*names: str, design: Design | None = None) -> Design:
    """A design with these `FAULTS`, ours where none is given.

    Raises:
        BadRequest: no such fault.
    """
    changes = {}
    for name in names:
        if name not in FAULTS:
            raise BadRequest(f"There is no fault '{name}': choose one of {', '.join(FAULTS)}.")
        changes |= FAULTS[name]
    return replace(design or Design(), **changes)


PUBLISHED = with_faults(*FAULTS)
