"""The shell's way in: `python -m uniecg_lite run | interpret | generate | verify | check | results | data | ...`."""

import json
import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .config import profile as find_profile
from .ecg import ECG
from .ecg_io import IMAGE_SUFFIXES
from .errors import UniECGError, require
from .paths import beside
from .store import Store

app = typer.Typer(
    help="Read 12-lead ECGs and make them from words. Educational, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Real data sets.", no_args_is_help=True)
app.add_typer(data, name="data")
ProfileOption = Annotated[str, typer.Option(help="Sizes: smoke, laptop or gpu.", envvar="UNIECG_PROFILE")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything random.")]
ModelOption = Annotated[str | None, typer.Option(help="Model folder; by default artifacts/<profile>/unified.")]


@app.command()
def run(
    profile: ProfileOption = "laptop",
    seed: SeedOption = 0,
    fresh: Annotated[bool, typer.Option(help="Start over, even if notebooks are finished.")] = False,
    only: Annotated[str | None, typer.Option(help="Number of one notebook, to run it alone.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="Number of the first notebook to run.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Number of the last notebook to run.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Notebooks at a time; 2 on a CPU unless said.")] = None,
):
    """Run all notebooks, or some, each after those it needs; skips finished ones, writes under artifacts/ alone."""
    beside("notebooks/runner.py", "run").run(profile, seed, fresh, only, first, last, jobs)


@app.command()
def interpret(
    path: Annotated[Path, typer.Argument(help="WFDB record, CSV, .npy, .npz, or a picture of an ECG page.")],
    prompt: Annotated[str, typer.Option(help="What to ask.")] = "Interpret this ECG.",
    hz: Annotated[float | None, typer.Option(help="Sampling rate, where the file does not say it.")] = None,
    unit: Annotated[str | None, typer.Option(help="nV, uV, mV or V, where the file does not say it.")] = None,
    profile: ProfileOption = "laptop",
    model: ModelOption = None,
):
    """Read one ECG and print the answer."""
    reader = _model(profile, model)
    page = path.suffix.lower() in IMAGE_SUFFIXES
    given = {"image": str(path)} if page else {"ecg": ECG.load(path, hz=hz, unit=unit)}
    typer.echo(f"{reader.respond(prompt, **given).text}\nEducational, not for diagnosis.")


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="The ECG you want, in words.")],
    out: Annotated[Path, typer.Option(help="Where to save it, as a WFDB record.")] = Path("out/ecg"),
    page: Annotated[bool, typer.Option(help="Also draw a PNG page beside it.")] = False,
    seed: SeedOption = 0,
    profile: ProfileOption = "laptop",
    model: ModelOption = None,
):
    """Generate one ECG from words and save it."""
    from .drawing import save_page

    answer = _model(profile, model).respond(prompt, seed=seed)
    words = f"The model answered in words, it saw no request for an ECG: {answer.text}"
    require(answer.ecg is not None, words, UniECGError)
    typer.echo(f"saved {answer.ecg.save(out)}")
    if page:
        typer.echo(f"saved {save_page(answer.ecg, out.with_suffix('.png'))}")


@app.command()
def check(profile: ProfileOption = "laptop"):
    """Print an [OK]/[FAIL] list of this environment."""
    from .course.check import check as check_environment

    raise typer.Exit(0 if check_environment(profile) else 1)


@app.command()
def verify(
    profile: ProfileOption = "laptop",
    seed: SeedOption = 0,
    committed: Annotated[bool, typer.Option("--committed", help="Compare with results/, not with the run.")] = False,
):
    """Score the trained model again and compare with the run's results, else the committed ones, and the aims."""
    raise typer.Exit(0 if beside("benchmarks/verify.py", "verify").verify(profile, seed, committed) else 1)


@app.command()
def results(
    profile: ProfileOption = "laptop",
    seed: SeedOption = 0,
    tables_only: Annotated[bool, typer.Option("--tables-only", help="Copy nothing.")] = False,
    notebooks: Annotated[bool, typer.Option("--notebooks", help="Also put its executed notebooks back.")] = False,
):
    """Copy a finished run from artifacts/ to results/, if there is one, and write README's tables from results/."""
    store = Store.open(find_profile(profile), seed)
    typer.echo("\n".join(beside("benchmarks/publish.py", "results").publish(store, tables_only, notebooks)))


@app.command()
def stale(profile: ProfileOption = "laptop"):
    """List the notebooks whose stored outputs are of other code: their own, or a module's that they import."""
    found = beside("notebooks/stored.py").stale(profile)
    typer.echo("\n".join(found) or "Every notebook's outputs are of the code that is here.")
    raise typer.Exit(1 if found else 0)


@app.command()
def prompts(
    path: Annotated[Path, typer.Argument(help="JSON lines, such as data/test_prompts.jsonl.")],
    wrong: Annotated[bool, typer.Option("--wrong", help="Also list what went wrong.")] = False,
    profile: ProfileOption = "laptop",
    model: ModelOption = None,
):
    """Score what the model does with the prompts of a file, kind by kind, with intervals."""
    from .metrics.prompt_scores import by_kind, load_prompts, prompt_scores

    asked = load_prompts(path)
    scores = prompt_scores(_model(profile, model), asked)
    typer.echo(by_kind(scores).round(3).to_string())
    for row in scores[~scores.right | scores.asked.eq(False)].itertuples() if wrong else ():
        typer.echo(f"{row.kind}: {row.prompt}\n  {row.understood or ('an ECG' if row.generated else 'words')}")


@app.command("score-records")
def score_records(
    folder: Annotated[Path, typer.Argument(help="PTB-XL, MIMIC-IV-ECG, a CinC Challenge, or records with labels.csv.")],
    split: Annotated[
        str | None, typer.Option(help="Only train, validation or test: the model knows the others.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write all scores, as JSON.")] = Path("out/records.json"),
    profile: ProfileOption = "laptop",
    model: ModelOption = None,
):
    """Score reports of real records, finding by finding, with intervals by patient, apart for each origin of labels."""
    from .metrics.chain import reports
    from .metrics.real_records import load_records, reference_rates, report_tables
    from .store import write_text

    reader, records = _model(profile, model), load_records(folder, split)
    signal = records.signal(range(len(records)))
    found, scores = report_tables(records, reports(reader, signal), reference_rates(signal)), {}
    for origin, (table, rates) in found.items():
        typer.echo(f"\nLabels: {origin}\n{table.round(2).to_string()}\n{rates}")
        scores[origin] = rates | {"findings": json.loads(table.to_json(orient="index"))}
    write_text(out, json.dumps(scores, indent=2) + "\n")
    typer.echo(f"saved {out}")


@app.command()
def diagnose(
    folder: Annotated[str, typer.Argument(help="Model folder, such as artifacts/laptop/unified.")],
    before: Annotated[str | None, typer.Option(help="Its folder after stage 1: have reports changed?")] = None,
):
    """Measure what shows that stage 2 failed, and name the likely cause; exit code 1 when there is one."""
    from .studies.stage2 import DIAGNOSES, diagnosis, signs

    found = signs(_model("laptop", folder), before and _model("laptop", before))
    lines = [f"{found[name]:6.3f}  {what}" for name, what in DIAGNOSES["signs"].items() if name in found]
    typer.echo("\n".join([*lines, DIAGNOSES["causes"][diagnosis(found)]["cause"]]))
    raise typer.Exit(0 if diagnosis(found) == "intact" else 1)


@app.command()
def bench():
    """Time the simulator and the raster, as ratios to a peer in the same run."""
    beside("benchmarks/bench.py").bench()


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="Which study; --list shows them.")] = "",
    seeds: Annotated[int, typer.Option(help="Seeds 0 to this number less one.")] = 3,
    variant: Annotated[str | None, typer.Option(help="Only this variant.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show studies, their questions and variants.")] = False,
    profile: ProfileOption = "laptop",
):
    """Run a study, a grid of short trainings, after the chain; finished cells are kept, a killed one goes on."""
    from .studies.grid import run_study, study_list
    from .training import quiet_libraries

    if list_ or not name:
        typer.echo(study_list())
        return
    quiet_libraries()
    for path in run_study(name, profile, seeds, variant):
        typer.echo(path)


@data.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="Which data set: ptbxl.")],
    to: Annotated[Path | None, typer.Option(help="Folder; by default artifacts/data/<name>.")] = None,
    mirror: Annotated[str | None, typer.Option(help="Folder on another server that has the archive.")] = None,
):
    """Fetch a data set, resumed where it broke off, checked and unpacked; says its size and licence first."""
    from .download import DATASETS, get
    from .paths import ROOT

    if row := DATASETS.get(name):
        typer.echo(f"{row['title']}\n{row['size']}; licence {row['licence']}; cite {row['cite']}")
    folder = get(name, to or ROOT / "artifacts" / "data" / name, mirror)
    typer.echo(f"{folder} is whole: {DATASETS[name]['use'].format(folder=folder)}")


def _model(profile: str, folder: str | None):
    from .model import UniECG
    from .training import quiet_libraries

    quiet_libraries()
    store = Store.open(find_profile(profile))
    if not folder:  # whatever the seed that it was trained with
        folder = replace(store, seed=store.meta("unified")["seed"]).path("unified")
    return UniECG.from_pretrained(folder)


def main() -> None:
    """Run a command; bad input ends with one sentence and exit code 1, not with a traceback; warnings are sentences."""
    warnings.showwarning = lambda words, *_: typer.echo(f"{words}", err=True)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        app()
    except UniECGError as reason:
        typer.echo(f"{reason}", err=True)
        sys.exit(1)
