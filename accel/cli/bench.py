"""`accel bench`: from a model to a table, a page and a winner."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accel.cli.endpoint import drive, refuse_alone
from accel.cli.values import Plugin, Rate, Size, Techniques, Word, drop, duration, price, slo
from accel.errors import InputError, NothingMeasured

if TYPE_CHECKING:
    import accel

_PROFILES = ("quick", "shared", "quiet", "gpu")


@click.command("bench")
@click.argument("model", required=False, metavar="[MODEL | RECIPE | demo]")
@click.option("--samples", metavar="PATH", help="Real inputs: .npz, folder of .npy, or file.py:factory.")
@click.option(
    "--target",
    type=Word("batch", "online", "both", "memory"),
    metavar="batch|online|both|memory",
    help="What to optimize for; batch and online if not given.",
)
@click.option("--slo", type=slo(), help="The latency limit for online: p99=20ms.")
@click.option("--accuracy-drop", type=drop("--accuracy-drop"), help="How much accuracy may be lost: 1pp.")
@click.option("--budget", type=duration("--budget"), help="How long it may take: 90s, 5m, 2h.")
@click.option("--profile", type=Word(*_PROFILES), metavar="|".join(_PROFILES), help="How much evidence to gather.")
@click.option(
    "--backend",
    type=Plugin("compilation"),
    metavar="NAME[:FIELD=VALUE,…]",
    multiple=True,
    help="Try only this backend; repeatable.",
)
@click.option(
    "--compression",
    type=Techniques(),
    metavar="NAME[:FIELD=VALUE,…][+NAME…]",
    multiple=True,
    help="Try only this technique, or these in their order; repeatable.",
)
@click.option("--price", type=price(), metavar="P/h", help="What an instance costs an hour: 0.20/h; no default.")
@click.option("--batch", type=Size(), multiple=True, help="Try only this batch size; repeatable.")
@click.option(
    "--endpoint", metavar="URL", help="Drive a server that runs already: http://127.0.0.1:8000/v2/models/NAME."
)
@click.option(
    "--protocol",
    type=Word("auto", "v2", "v2-binary", "json"),
    metavar="auto|v2|v2-binary|json",
    help="How the endpoint is asked; by its URL if not given.",
)
@click.option("--connections", type=Size(), help="How many requests to the endpoint can be under way at once: 32.")
@click.option("--rate", type=Rate(), multiple=True, help="Drive the endpoint at so many requests a second; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where results go.")
@click.option("--resume", is_flag=True, help="Go on with the study in --out; finished runs are kept.")
@click.option("--dry-run", is_flag=True, help="Show what would be tried and how long it takes; measure nothing.")
@click.option("--save-recipe", type=click.Path(path_type=Path), metavar="FILE", help="Write the plan; measure nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the conclusion as JSON, and nothing else, to stdout.")
@click.option(
    "--trust-file", is_flag=True, help="Load a file that may hold pickles or native code (.pt2, .skops, .bin)."
)
@click.pass_obj
def command(
    words: list[str],
    /,
    model: str | None,
    dry_run: bool,
    save_recipe: Path | None,
    as_json: bool,
    endpoint: str | None,
    **options: Any,
) -> int:
    """Compare the ways to run MODEL and recommend one for batch jobs and one for online requests.

    MODEL is an .onnx, .pt2, OpenVINO .xml or .skops file, a Hugging Face folder, hf:NAME, timm:NAME, file.py:factory
    or package.module:factory; a recipe is a .toml file; `demo` is built in. With --endpoint no MODEL is given: a
    running server is driven.
    """
    asked = {name: value for name, value in options.items() if value not in (None, (), False)}
    if endpoint is not None:
        if dry_run or save_recipe is not None:
            raise InputError("--dry-run and --save-recipe have no meaning with --endpoint.")
        return drive(endpoint, model, asked, as_json=as_json, typed=shlex.join(["accel", *words]))
    refuse_alone(asked)
    if model is None:
        raise InputError("Say what to measure: a model file, a recipe (.toml) or `demo`, as in `accel bench demo`.")
    if asked.get("resume") and "out" not in asked and not model.endswith(".toml"):
        raise InputError("--resume needs the folder of the study to go on with. Add --out DIR.")
    if dry_run or save_recipe is not None:
        return _plan(model, asked, save_recipe)
    return _measure(model, asked, as_json, shlex.join(["accel", *words]))


def _plan(model: str, asked: dict[str, Any], save_recipe: Path | None) -> int:
    import accel
    from accel.result import write_atomically

    plan = accel.plan_study(model, **asked)
    if save_recipe is not None:
        try:
            write_atomically(save_recipe, plan.recipe_toml().encode())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
            raise InputError(
                f"The recipe `{save_recipe}` can't be written: {(error.strerror or str(error)).lower()}. Give another "
                "path to --save-recipe."
            ) from None
    click.echo(plan.describe())
    if save_recipe is not None:
        click.echo(f"Recipe: {save_recipe}")
    return 0


def _measure(model: str, asked: dict[str, Any], as_json: bool, typed: str) -> int:
    import accel
    from accel.cli.progress import Progress
    from accel.report.table import text

    with Progress() as progress:
        study = accel.bench(model, **asked, progress=progress, command=typed)
    page = _from_here(study.folder / "report.html")
    if as_json:
        click.echo(study.to_json().rstrip(b"\n"))
        click.echo(f"Report: {page}", err=True)
    else:
        click.echo(text(study.conclusion, report=str(page)))
        _tell_kept(study.folder)
    return _code(study)


def _tell_kept(folder: Path) -> None:
    """What the artefacts weigh that `accel compare` will measure again."""
    from accel.study.kept import kept_bytes
    from accel.units import show_bytes

    size = kept_bytes(folder)
    if size:
        click.echo(f"Kept for `accel compare`: {show_bytes(size)} of artefacts in {_from_here(folder / 'winner')}")


def _from_here(path: Path) -> Path:
    """The path as a person would type it in this folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _code(study: accel.Study) -> int:
    conclusion = study.conclusion
    if conclusion.record.interrupted:
        click.echo(f"accel: Interrupted. Go on with: --out {study.folder} --resume", err=True)
        return 130
    if not any(row.status == "ok" for row in conclusion.rows):
        reasons = "; ".join(f"{row.name}: {row.reason}" for row in conclusion.rows[:3])
        raise NothingMeasured(
            f"Not one variant could be measured ({reasons.rstrip('.')}). See all with `accel list {study.folder}`."
        )
    return 0
