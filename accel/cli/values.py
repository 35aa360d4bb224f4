"""Option types: each reads one word of the command line and refuses a wrong one at once, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from accel import plugins, units
from accel.errors import InputError, nearest


class Checked(click.ParamType[str]):
    """Text that a function of accel understands; it stays text, so that the API reads it in one place only."""

    def __init__(self, name: str, check: Callable[[str], object]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        self._check(str(value))
        return str(value)


class Word(click.ParamType[str]):
    """One of a few words; a misspelt one gets the nearest offered."""

    def __init__(self, *words: str) -> None:
        self.name = "|".join(words)
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self._words:
            option = param.opts[0] if param is not None else "the option"
            raise InputError(f"{option} can't be `{value}`. {nearest(str(value), self._words)}")
        return str(value)


class Plugin(click.ParamType[str]):
    """A plug-in with its fields, such as `openvino:streams=2`."""

    def __init__(self, kind: str) -> None:
        self.name = "NAME"
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        plugins.parse(self._kind, str(value))
        return str(value)


class Techniques(click.ParamType[str]):
    """One technique, or several in their order, such as `prune_structured:ratio=0.5+fine_tune+quantize_static`."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        plugins.parse_several("compression", str(value))
        return str(value)


class Size(click.ParamType[int]):
    """A size or number of something: a whole number of at least 1."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            size = int(value)
        except ValueError:
            raise InputError(f"{_option(param)} must be a whole number such as 8, but is `{value}`.") from None
        if size < 1:
            raise InputError(f"{_option(param)} must be at least 1, but is `{value}`.")
        return size


class Rate(click.ParamType[float]):
    """Requests a second, such as `50` or `50/s`."""

    name = "RATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            rate = float(str(value).removesuffix("/s"))
        except ValueError:
            rate = 0.0
        if not 0 < rate < float("inf"):
            raise InputError(f"{_option(param)} must be requests a second above 0, such as 50, but is `{value}`.")
        return rate


def _option(param: click.Parameter | None) -> str:
    return param.opts[0] if param is not None else "the option"


def duration(option: str) -> Checked:
    """A positive time such as `5m`."""
    return Checked("TIME", lambda text: units.seconds(text, option))


def drop(option: str) -> Checked:
    """A loss of accuracy such as `1pp`."""
    return Checked("DROP", lambda text: units.fraction(text, option))


def slo() -> Checked:
    """A latency limit such as `p99=20ms`."""

    def check(text: str) -> object:
        from accel.slo import parse_slo

        return parse_slo(text)

    return Checked("SLO", check)


def price() -> Checked:
    """What an instance costs an hour, such as `0.20/h`."""

    def check(text: str) -> object:
        from accel.analysis.cost import parse_price

        return parse_price(text)

    return Checked("PRICE", check)
