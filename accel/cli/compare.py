"""`accel compare`: two studies or two variants, and the gate of continuous integration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from accel.cli.values import Checked, duration


def _limit() -> Checked:
    def check(text: str) -> object:
        from accel.analysis.gate import parse_limit

        return parse_limit(text)

    return Checked("LIMIT", check)


@click.command("compare")
@click.argument("old")
@click.argument("new")
@click.option(
    "--fail-if",
    type=_limit(),
    multiple=True,
    metavar="METRIC=CHANGE",
    help="Fail if a metric got worse by more: p99=+5%, throughput=-3%, accuracy=-1pp, memory=+10%; repeatable.",
)
@click.option("--strict", is_flag=True, help="Fail too where a limit can't be told.")
@click.option("--budget", type=duration("--budget"), default="2m", help="How long the gate may measure: 2m.")
@click.option("--no-rerun", is_flag=True, help="Measure nothing; stored numbers are information only.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Keep the gate's runs in a new folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON, and nothing else, to stdout.")
@click.option("--trust-file", is_flag=True, help="Open artefacts that may hold pickles or native code.")
def command(old: str, new: str, no_rerun: bool, as_json: bool, **options: Any) -> int:
    """Compare the study OLD with the study NEW, or two variants given as FOLDER/VARIANT.

    With --fail-if both winners are measured again here, in interleaved blocks: a limit fails only if the whole
    interval lies beyond it (exit code 1); where that can't be told it says what would settle it (exit code 0).
    """
    import accel

    found = accel.compare(old, new, rerun=not no_rerun, progress=lambda line: click.echo(line, err=True), **options)
    if not as_json:
        _endpoints(old, new)
    click.echo(found.to_json().rstrip(b"\n") if as_json else str(found))
    found.check()
    return 0


def _endpoints(*places: str) -> None:
    """Two endpoints are shown whole, one under the other: their loads are no variants that could be raced."""
    from accel.endpoint.driven import EndpointStudy

    found = [(place, EndpointStudy.load(Path(place))) for place in places]
    if any(study is None for _, study in found):
        return
    for place, study in found:
        click.echo(f"--- {place}\n{study}\n")
