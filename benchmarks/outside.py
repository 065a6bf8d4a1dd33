"""What does a reader trained on real ECGs see in made ones? openecg's verdicts on lead II, request by request.

openecg (Apache-2.0; extra `outside`) shares no code, words or training data with this project. For each request ECGs
are made, and as many simulated hearts with that finding are shown to it as well: what it says of those is the ceiling.

    python benchmarks/outside.py --profile laptop --each 80

Through the language model, where notebook 08 has run; else from the request's own condition. Writes
`artifacts/<profile>/outside.json`.
"""

import argparse
import json
from collections import Counter
from random import Random

import torch
from scipy.signal import resample
from scipy.stats import binomtest
from tqdm import tqdm

from uniecg_lite.checkpoints import load_reading
from uniecg_lite.config import profile as find_profile
from uniecg_lite.errors import BadArtifact, BadRequest
from uniecg_lite.findings import CODES
from uniecg_lite.generator.event_plan import HZ
from uniecg_lite.generator.generator import Generator
from uniecg_lite.language.requests import Request
from uniecg_lite.language.wording import worded
from uniecg_lite.simulator.simulate import simulate
from uniecg_lite.store import Store, write_text

FS, LEAD_II = 500, 1  # Hz that openecg reads
POPULATION, AGE, SEX = 31, 63, "female"  # seed of the simulated hearts; who is asked for
ROWS = {  # name -> what is asked for, and how openecg says that it is there
    "sinus rhythm": (Request(AGE, SEX, 70, ("SR", "NORM")), "sinus"),
    "first degree AV block, PR 260": (Request(AGE, SEX, 70, ("SR", "1AVB"), pr=260), "avb"),
    "Wenckebach": (Request(AGE, SEX, 60, ("WENCK",)), "avb"),
    "complete AV block": (Request(AGE, SEX, 40, ("3AVB",)), "avb"),
    "ventricular premature beats": (Request(AGE, SEX, 75, ("SR", "PVC")), "ventricular_ectopy"),
    "bigeminy": (Request(AGE, SEX, 70, ("SR", "BIGU")), "ventricular_ectopy"),
    "paced": (Request(AGE, SEX, 70, ("PACE",)), "paced"),
    "left bundle branch block": (Request(AGE, SEX, 75, ("SR", "CLBBB")), "bbb"),
    "atrial fibrillation": (Request(AGE, SEX, 90, ("AFIB",)), "afib"),
    "atrial flutter": (Request(AGE, SEX, 75, ("AFLT",)), "afib"),
}


def verdicts(signal: torch.Tensor, hz: float, read) -> list[tuple[set[str], float | None]]:
    """What `read` (openecg's `report`) says of lead II of (B, 12, L) mV: its rhythm and flags, and PR in ms."""
    out = []
    for lead in signal[:, LEAD_II].double().numpy():
        found = read(resample(lead, round(len(lead) * FS / hz)), FS)
        out.append(({found.rhythm["label"], *found.flags}, found.intervals_ms.get("pr")))
    return out


def row(found: list[tuple[set[str], float | None]], wanted: str) -> dict:
    """The share of verdicts that hold what is wanted, its interval, and what was said instead."""
    hits, n = sum(wanted in said for said, _ in found), len(found)
    intervals = [pr for _, pr in found if pr is not None]
    return {
        "n": n,
        "share": hits / n,
        "interval": [*binomtest(hits, n).proportion_ci(method="wilson")],
        "pr_ms": float(torch.tensor(intervals).median()) if intervals else None,
        "said": dict(Counter(one for said, _ in found for one in sorted(said)).most_common(6)),
    }


def simulated(code: str, n: int) -> torch.Tensor:
    """n simulated hearts with a finding, clean: (n, 12, 5000) mV."""
    index = torch.arange(100 * n)
    parts = [simulate(POPULATION, part, hz=50.0, noise=False).truth["findings"].bool() for part in index.split(2000)]
    there = torch.cat(parts)[:, CODES.index(code)].nonzero()[:n, 0]
    return simulate(POPULATION, there, hz=FS, noise=False).signal


def made(store: Store, request: Request, n: int, seed: int = 0) -> torch.Tensor:
    """n ECGs of a request, through the language model where there is one: (n, 12, 1024) mV."""
    try:
        model = load_reading(store, "unified")
        generator, conditions = model.generator, model.conditions([worded(request, Random(i)) for i in range(n)])
    except BadArtifact:
        generator = Generator.from_pretrained(store.path("diffusets"))
        conditions = generator.conditions([request] * n)
    return generator.signals(conditions, seed).cpu()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--profile", default="laptop", help="whose generator")
    options.add_argument("--each", type=int, default=80, help="ECGs of each request")
    asked = options.parse_args()
    try:
        from openecg import report as read
    except ImportError:
        raise SystemExit("openecg is not installed: pip install -e .[outside]") from None
    store, table = Store.open(find_profile(asked.profile), 0), {}
    for name, (request, wanted) in tqdm(ROWS.items(), desc="openecg"):
        code = request.findings[-1]
        table[name] = {
            "made": row(verdicts(made(store, request, asked.each), HZ, read), wanted),
            "simulated": row(verdicts(simulated(code, asked.each), FS, read), wanted),
        }
        here, there = (table[name][key] for key in ("made", "simulated"))
        tqdm.write(f"{name:32s}{wanted:20s} made {here['share']:.0%}  simulated {there['share']:.0%}  {here['said']}")
    write_text(store.folder / "outside.json", json.dumps(table, indent=1))


if __name__ == "__main__":
    try:
        main()
    except BadRequest as reason:
        raise SystemExit(str(reason)) from None
