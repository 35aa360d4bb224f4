"""How is a batching policy said? What it waits for, how far it goes, whom it gives up; never its measured curve."""

from __future__ import annotations

import json
import re
from typing import Any

from accel.plugins import Named
from accel.units import show_seconds

_DEFAULTS: dict[str, dict[str, Any]] = {
    "fixed": {"size": 8},
    "dynamic": {"max_size": 16, "target": 0, "drop": "none", "defer": False},
    "early_commit": {"size": 10, "timeout_s": 0.01},
    "window": {"size": 16, "timeout_s": 0.01},
    "bucketed": {"max_size": 16, "tokens": 0},
}
"""The policies' own defaults, which a stored policy leaves out (a test holds them to the plug-ins)."""
_DROPS = {
    "early": "drops what would be late",
    "queue": "drops the oldest when not all that wait can be answered in time",
    "age": "drops what has waited too long",
}


def said(policy: Named | str) -> str:
    """A policy in a few words; a name that isn't known stays as it is, without what it was measured with.

    policy: as a Result keeps it, or as its text, which is what a reading keeps.

    >>> said("dynamic(curve=((1, 0.01), (9, 0.02)), drop=early, max_size=9, slo_s=0.05)")
    'dynamic batches of up to 9, drops what would be late'
    >>> said("single"), said(Named("window", {"size": 8, "timeout_s": 0.005}))
    ('one request at a time', 'collects up to 8 for 5 ms')
    """
    named = _read(policy) if isinstance(policy, str) else policy
    fields = {**_DEFAULTS.get(named.name, {}), **named.fields}
    match named.name:
        case "single":
            return "one request at a time"
        case "fixed":
            return f"batches of {fields['size']}"
        case "dynamic":
            return _dynamic(fields)
        case "early_commit":
            return f"closes a batch at {fields['size']} or after {_time(fields['timeout_s'])}, worker free or not"
        case "window":
            return f"collects up to {fields['size']} for {_time(fields['timeout_s'])}"
        case "bucketed":
            budget = f", at most {fields['tokens']} tokens with padding" if fields["tokens"] else ""
            return f"batches of up to {fields['max_size']} of like length{budget}"
    return str(policy) if isinstance(policy, str) and not named.fields else _plain(named)


def short(policy: Named | str) -> str:
    """The same as a label of a chart: the name and its size.

    >>> short("dynamic(drop=early, max_size=9)"), short(Named("single")), short("early_commit")
    ('dynamic ≤ 9, drops', 'single', 'early_commit 10')
    """
    named = _read(policy) if isinstance(policy, str) else policy
    fields = {**_DEFAULTS.get(named.name, {}), **named.fields}
    if named.name in ("dynamic", "bucketed"):
        size = _largest(fields)
        return f"{named.name} ≤ {size}{', drops' if fields.get('drop', 'none') != 'none' else ''}"
    return f"{named.name} {fields['size']}" if "size" in fields else named.name


def _dynamic(fields: dict[str, Any]) -> str:
    size = _largest(fields)
    parts = [f"dynamic batches of up to {size}" if size != 1 else "one request at a time"]
    if fields["drop"] != "none":
        parts.append(_DROPS.get(str(fields["drop"]), f"drop={fields['drop']}"))
    if fields["defer"]:
        parts.append("waits for company while the deadline allows")
    return ", ".join(parts)


def _largest(fields: dict[str, Any]) -> Any:
    sizes = [fields["max_size"], *([fields["target"]] if fields.get("target") else [])]
    return min(sizes) if all(isinstance(s, int) for s in sizes) else sizes[0]


def _time(value: Any) -> str:
    return show_seconds(value) if isinstance(value, (int, float)) else str(value)


def _plain(named: Named) -> str:
    """A policy of somebody else: its name and whatever of its fields is a single value."""
    kept = {k: v for k, v in named.fields.items() if isinstance(v, (int, float, str)) and len(str(v)) <= 24}
    return str(Named(named.name, kept))


def _read(text: str) -> Named:
    """The opposite of `str(Named)`; what isn't such a text is a name without fields.

    >>> _read("dynamic(curve=((1, 0.01),), max_size=16)").fields["max_size"]
    16
    """
    match = re.fullmatch(r"(\w+)\((.*)\)", text, re.DOTALL)
    if match is None:
        return Named(text)
    fields: dict[str, Any] = {}
    for part in _split(match[2]):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            return Named(text)
        fields[key] = _value(value)
    return Named(match[1], fields)


def _split(text: str) -> list[str]:
    """Parts between commas that stand outside of all brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [p.strip() for p in parts]


def _value(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    try:
        return json.loads(text)
    except ValueError:
        return text
