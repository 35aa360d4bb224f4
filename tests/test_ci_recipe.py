"""The worked file for GitHub Actions is sound YAML, and the command line understands every accel command in it."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from accel.cli.main import COMMANDS

FILE = Path(__file__).parents[1] / "recipes" / "ci" / "github-actions.yml"


def workflow() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    read: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
    return read


def steps() -> list[dict[str, Any]]:
    return [step for job in workflow()["jobs"].values() for step in job["steps"]]


def commands() -> list[list[str]]:
    """Every accel command as words, its variables filled in from `env`."""
    env = workflow()["env"]
    lines = [line for step in steps() for line in step.get("run", "").splitlines() if line.startswith("accel ")]
    return [[re.sub(r"\$(\w+)", lambda m: env[m[1]], word) for word in shlex.split(line)] for line in lines]


def parsed(words: list[str]) -> click.Context:
    command: click.Command = importlib.import_module(f"accel.cli.{words[1]}").command
    return command.make_context("accel", words[2:])


def test_the_commands_are_those_of_a_study_and_a_gate() -> None:
    assert [words[1] for words in commands()] == ["bench", "bench", "compare"]
    assert {words[1] for words in commands()} <= COMMANDS.keys()


def test_every_command_is_understood_down_to_its_limits() -> None:
    for words in commands():
        parsed(words)
    gate = parsed(commands()[-1]).params
    assert (gate["old"], gate["new"]) == ("old", "new")
    assert gate["fail_if"] == ("p99=+5%", "throughput=-3%", "accuracy=-1pp")


def test_a_command_that_rots_is_seen() -> None:
    with pytest.raises(click.NoSuchOption):
        parsed(["accel", "compare", "old", "new", "--fail-on", "p99=+5%"])


def test_what_is_cached_is_the_study_that_is_compared() -> None:
    """The folder of --out is the one that the cache keeps and that the gate is given."""
    cached = [step["with"]["path"] for step in steps() if "cache" in step.get("uses", "")]
    assert cached == ["old", "old"]
    assert commands()[0][-2:] == ["--out", "old"]
    assert commands()[1][-2:] == ["--out", "new"]


def test_the_key_of_the_main_branch_is_found_by_the_prefix_of_the_pull_request() -> None:
    saved, restored = (step["with"] for step in steps() if "cache" in step.get("uses", ""))
    assert saved["key"].startswith(restored["restore-keys"])
