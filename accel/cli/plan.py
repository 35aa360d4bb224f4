"""`accel plan`: how many replicas a load needs, from a finished study; measures nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from accel.cli.values import Rate, duration, price, slo


@click.command("plan")
@click.argument("study", type=click.Path(path_type=Path), metavar="STUDY")
@click.option("--rate", type=Rate(), metavar="N", help="Requests per second in all, up to 1,000,000.")
@click.option("--slo", type=slo(), help="The latency limit, p99=50ms; the study's own if not given.")
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Arrival times in seconds, one a line, or CSV with the header time,rate; --rate scales its mean.",
)
@click.option(
    "--price", type=price(), metavar="P/h", help="What an instance costs an hour: 0.20/h. Without it: instance-seconds."
)
@click.option("--headroom", metavar="SHARE", help="How full replicas may be planned: 80%.")
@click.option("--growth", metavar="SHARE/TIME", help="How fast the rate may rise, which sets the headroom: 10%/min.")
@click.option("--spare", type=int, default=0, metavar="N", help="So many replicas may fail and the limit still holds.")
@click.option("--start-seconds", type=float, metavar="S", help="From ordering a replica to its first answer.")
@click.option(
    "--metric-window", type=duration("--metric-window"), default="60s", help="How long the scaler looks: 60s."
)
@click.option(
    "--cool-down", type=duration("--cool-down"), default="10m", help="How long until it takes some away: 10m."
)
@click.option("--serverless", metavar="PRICES", help="Hold it against serverless: 0.20/million,0.0000167/GBs,2GB.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, and nothing else, to stdout.")
def command(study: Path, as_json: bool, **options: Any) -> int:
    """Say how many replicas of which variant of STUDY carry a load within a latency limit, and what they cost.

    Under another limit than the study's the capacity is predicted by simulation from its measured service times.
    """
    import accel

    found = accel.plan(study, **options)
    click.echo(found.to_json().rstrip(b"\n") if as_json else str(found))
    return 0
