"""`accel report`: remake the page of one study or several from their stored results; needs no torch and no runtime."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("studies", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="STUDY...")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Where the page goes; report.html there.")
def command(studies: tuple[Path, ...], out: Path | None) -> int:
    """Write the HTML page of one STUDY folder, or of several side by side."""
    import accel

    page = out or (studies[0] / "report.html" if len(studies) == 1 else Path("report.html"))
    accel.write_report(list(studies), page)
    click.echo(f"Report: {page}")
    return 0
