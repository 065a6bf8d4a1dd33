"""Words to an ECG: the trained parts together."""

import json
from dataclasses import asdict, replace
from functools import partial
from itertools import repeat
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoTokenizer

from ..ecg import ECG
from ..errors import BadArtifact, refused
from ..language.requests import Request
from ..training import device_and_why, inference
from .denoiser import Denoiser, PatchDenoiser
from .diffusion import Design, guided, path_loss, path_of
from .event_plan import HZ, PLAN, EventModel, Events, TemplateModel, lay_out, shown, templates
from .text_encoder import TextEncoder, numbers_of
from .vae import LATENT, VAE

SEEDS = 1_000_003  # batch i of seed s draws from s + i SEEDS; torch keeps 32 bits, enough for 4294 batches


class Generator(nn.Module):
    """VAE + condition encoder + rhythm + templates + denoiser + few-step sampler.

    Args:
        steps: of the sampler, where the design does not ask for ancestral ones.
        guidance: how hard the words push, where the design is guided.
        design: how it is trained and sampled; by default as ours is.
    """

    def __init__(
        self,
        vae: VAE,
        condition: TextEncoder,
        rhythm: EventModel,
        templates: TemplateModel,
        denoiser: nn.Module,
        steps: int = 20,
        guidance: float = 2.0,
        design: Design | None = None,
    ):
        super().__init__()
        self.vae, self.condition, self.denoiser = vae, condition, denoiser
        self.rhythm, self.templates = rhythm, templates
        self.steps, self.guidance, self.design = steps, guidance, design or Design()

    @inference()
    def conditions(self, requests: list[Request]) -> Tensor:
        """Requests -> what the design tells the denoiser: (B, D_c), or (B, T, D_c) for `tokens`."""
        if self.design.numbers == "words":
            return self.condition([request.text() for request in requests], each=self.design.words == "tokens")
        words = self.condition([replace(request, age=None, sex=None, rate=None).text() for request in requests])
        return torch.cat([words, numbers_of(requests, self.design.numbers == "scaled").to(words)], 1)  # (B, D_c + 3)

    @torch.no_grad()
    def plan(self, condition: Tensor, generator: torch.Generator, guidance: float | None = None) -> Tensor:
        """Conditions (B, D_c) -> (B, PLAN, 128): the events, and the latents of a sketch of them.

        Both are said from the condition; zeros where the design has no rhythm, or no sketch.
        """
        if not self.design.paced:
            return condition.new_zeros(len(condition), PLAN, LATENT[1])
        events = self.rhythm.sample(condition, self.condition.named_rate(condition), generator)
        guidance = (self.guidance if guidance is None else guidance) if self.design.guided else 1.0
        template = self.templates.sample(condition, guidance, generator) if self.design.sketched else None
        return self.planned(template, events)

    @inference()
    def planned(self, template: Tensor | None, events: Events) -> Tensor:
        """Templates (B, 8, COLUMNS), where the design is sketched, and B ECGs' events -> (B, PLAN, 128)."""
        if not self.design.sketched:
            return torch.cat([shown(events), events.time.new_zeros(len(events.time), *LATENT)], 1)
        return torch.cat([shown(events), self.vae.encode(lay_out(template, events))], 1)

    @torch.no_grad()
    def material(self, ecgs: Tensor, events: Events, template: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, 12, 1024) mV, their events, and their `templates` where these are known -> what the denoiser learns from:
        `latents` (N, 24, 128), and the plans (N, PLAN, 128) that these ECGs would have been drawn from."""
        if not self.design.paced:
            return self.latents(ecgs), ecgs.new_zeros(len(ecgs), PLAN, LATENT[1])
        template = templates(ecgs, events) if template is None and self.design.sketched else template
        plans, device = [], self.vae.scale.device
        for rows in torch.arange(len(ecgs)).split(256):
            some = Events(*(part.to(device) for part in events.rows(rows)))
            plans.append(self.planned(None if template is None else template[rows].to(device), some).to(ecgs.device))
        return self.latents(ecgs), torch.cat(plans)

    @inference()
    def latents(self, ecgs: Tensor) -> Tensor:
        """(N, 12, 1024) mV -> (N, 24, 128) latents of unit scale."""
        return torch.cat([self.vae.encode(part.to(self.vae.scale.device)) for part in ecgs.split(256)])

    @torch.no_grad()
    def sample(
        self,
        condition: Tensor,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        plan: Tensor | None = None,
    ) -> Tensor:
        """Conditions (B, D_c) -> latents (B, 24, 128), by a diffusers scheduler over what the denoiser predicts.

        By default Euler steps over the learned velocity; for guidance see `diffusion.guided`. The plan (B, PLAN, 128)
        is predicted from the condition, unless another is given.
        """
        self.eval()
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(len(condition), *LATENT, generator=generator).to(condition.device)
        guidance = self.guidance if guidance is None else guidance
        plan = self.plan(condition, generator, guidance) if plan is None else plan
        predict = guided(self.denoiser, condition, guidance if self.design.guided else None, plan)
        x = path_of(self.design).sample_path(predict, x, steps or self.steps, generator)
        return x / self.design.spread + plan[:, -LATENT[0] :]  # and the latents of the sketch

    def loss(self, latents: Tensor, plan: Tensor, condition: Tensor, generator: torch.Generator) -> Tensor:
        """The denoiser's error on latents (B, 24, 128) with these plans (B, PLAN, 128) and conditions (B, D_c).

        It learns what the sketch leaves of the latents; by default by flow matching, see `diffusion.Flow`.
        """
        clean = (latents - plan[:, -LATENT[0] :]) * self.design.spread
        return path_loss(path_of(self.design), lambda x, s: self.denoiser(x, s, condition, plan), clean, generator)

    @torch.no_grad()
    def signals(self, condition: Tensor, seed: int = 0, batch: int = 64, plan: Tensor | None = None, **how) -> Tensor:
        """Conditions (B, D_c) -> (B, 12, 1024) mV at 102.4 Hz; for the plan and the rest see `sample`.

        Each batch draws its own noise. Seeds of 0 to `SEEDS` - 1 share none with each other.
        """
        parts = zip(condition.split(batch), repeat(None) if plan is None else plan.split(batch))
        latents = [self.sample(c, seed + SEEDS * i, plan=p, **how) for i, (c, p) in enumerate(parts)]
        return torch.cat([self.vae.decode(latent).float() for latent in latents])

    def make(self, condition: Tensor, seed: int = 0, **how) -> list[ECG]:
        """Conditions (B, D_c) -> B ECGs."""
        source = "made by UniECG-lite, belongs to no patient"
        return [ECG(x.cpu().numpy(), HZ, source=source) for x in self.signals(condition, seed, **how)]

    # ---- on disk ------------------------------------------------------------------------------------------------
    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json`, `generator.safetensors` and the text encoder's tokenizer."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.cpu().contiguous() for k, v in self.state_dict().items()}, folder / "generator.safetensors")
        self.condition.tokenizer.save_pretrained(folder / "tokenizer")
        parts = {name: getattr(self, name).settings for name in PARTS}
        about = {"parts": parts, "steps": self.steps, "guidance": self.guidance, "design": asdict(self.design)}
        (folder / "config.json").write_text(json.dumps(about, indent=1))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Generator":
        """The generator of a folder, frozen.

        Raises:
            BadArtifact: missing or damaged.
        """
        folder = Path(folder)
        sentence = f"The generator in {folder} is missing or damaged ({{reason}}): run notebook 06."
        with refused(sentence, BadArtifact):
            about = json.loads((folder / "config.json").read_text())
            tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
            design = Design(**about["design"])
            denoiser = Denoiser if design.family == "unet" else PatchDenoiser
            kinds = (VAE, partial(TextEncoder, tokenizer), EventModel, TemplateModel, denoiser)
            built = (kind(**about["parts"][name]) for kind, name in zip(kinds, PARTS))
            generator = cls(*built, about["steps"], about["guidance"], design)
            generator.load_state_dict(load_file(folder / "generator.safetensors"))
        return generator.requires_grad_(False).eval().to(device_and_why()[0])


PARTS = ("vae", "condition", "rhythm", "templates", "denoiser")
