"""`make validate`: every experiment at full size, into `reports/validation.json` and `reports/VALIDATION.md`.

Can be interrupted: what is finished is not measured again, unless `--afresh` asks for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from accel.errors import InputError
from tests.validation import catalogue
from tests.validation.driving import JSON, run_all, save
from tests.validation.record import Record

REPORTS = Path(__file__).parents[2] / "reports"


@click.command()
@click.option("--only", default="", help="Experiments, separated by commas: V3,V4. Measured even if they are there.")
@click.option("--resume/--afresh", default=True, help="Keep the finished experiments of the file that is there.")
@click.option("--out", type=click.Path(path_type=Path), default=REPORTS, help="Folder of the two files.")
def main(only: str, resume: bool, out: Path) -> None:
    """Run the experiments that prove the harness right."""
    try:
        order = catalogue.modules()
        names = catalogue.chosen(only.split(","), order)
        record = _record(out / JSON, resume)
    except InputError as error:
        raise click.ClickException(str(error)) from None
    todo = names if only else [name for name in names if not record.done(name)]
    record = run_all(todo, record, out, say=click.echo, order=order)
    save(record, out)
    click.echo(f"{out / 'VALIDATION.md'}")
    sys.exit(0 if all(record.done(name) for name in names) else 1)


def _record(path: Path, resume: bool) -> Record:
    here = Record.here()
    if not resume or not path.exists():
        return here
    there = Record.load(path)
    if (there.env_id, there.accel_version) != (here.env_id, here.accel_version):
        raise InputError(
            f"`{path}` comes from another machine or version ({there.env_id}, accel {there.accel_version}), and rows "
            "of two machines make no table. Use --afresh, or --out with another folder."
        )
    return there


if __name__ == "__main__":
    main()
