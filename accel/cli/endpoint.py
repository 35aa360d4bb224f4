"""`accel bench --endpoint URL`: which options go with it, and what is printed."""

from __future__ import annotations

from typing import Any

import click

from accel.errors import InputError

_TAKEN = ("samples", "slo", "budget", "out", "rate", "protocol", "connections")


def drive(url: str, model: str | None, asked: dict[str, Any], *, as_json: bool, typed: str) -> int:
    """Drive the endpoint with the options that were given; gives the exit code."""
    import accel

    if model is not None:
        raise InputError(f"--endpoint drives a server that runs already, so `{model}` has no place beside it.")
    other = next((name for name in asked if name not in _TAKEN), None)
    if other is not None:
        raise InputError(f"--{other.replace('_', '-')} has no meaning with --endpoint.")
    if "samples" not in asked:
        raise InputError("--endpoint needs --samples: .npz with the model's inputs, or .jsonl with one body a line.")

    def tell(line: str) -> None:
        click.echo(line, err=True)

    study = accel.bench_endpoint(url, asked.pop("samples"), **asked, command=typed, progress=tell)
    click.echo(study.to_json() if as_json else str(study))
    if study.interrupted:
        click.echo("accel: Interrupted. What was driven until then is kept.", err=True)
        return 130
    return 0


def refuse_alone(asked: dict[str, Any]) -> None:
    """Raises InputError for an option that only an endpoint has."""
    for name in ("rate", "protocol", "connections"):
        if name in asked:
            raise InputError(f"--{name} belongs to --endpoint URL. Without one accel looks for the rates itself.")
