"""Which nodes belong together: operator types, and the blocks a network repeats."""

from __future__ import annotations

import re
from collections import defaultdict

Node = tuple[str, str]
_MOST_BLOCKS = 24
_RUNS = 8
_LEAST_BLOCKS = 2
_NUMBERED = re.compile(r"[./_](?:layers?|blocks?|stages?|h|features|encoder|decoder|\w*layer\w*)?[./_]?\d+(?=[./_]|$)")


def by_type(nodes: tuple[Node, ...]) -> dict[str, frozenset[str]]:
    """Operator type -> names of its nodes.

    >>> sorted(by_type((("a", "Add"), ("b", "Add")))["Add"])
    ['a', 'b']
    """
    found: dict[str, set[str]] = defaultdict(set)
    for name, kind in nodes:
        found[kind].add(name)
    return {kind: frozenset(names) for kind, names in found.items()}


def by_block(nodes: tuple[Node, ...]) -> dict[str, frozenset[str]]:
    """Block -> names of its nodes: by the numbered prefix of hierarchical names, else by stretches of the graph.

    >>> sorted(by_block((("/layer.0/a", "Add"), ("/layer.0/b", "Add"), ("/layer.1/a", "Add"))))
    ['/layer.0', '/layer.1']
    """
    named: dict[str, set[str]] = defaultdict(set)
    for name, _ in nodes:
        named[_prefix(name)].add(name)
    inside = {prefix: frozenset(names) for prefix, names in named.items() if prefix}
    covered = sum(len(names) for names in inside.values())
    if _LEAST_BLOCKS <= len(inside) <= _MOST_BLOCKS and covered >= len(nodes) / 2:
        return inside
    return _stretches(nodes)


def _prefix(name: str) -> str:
    """Up to the first numbered part that lies above another part; "" for a flat name."""
    if "/" not in name and "." not in name:
        return ""
    match = _NUMBERED.search(name)
    return name[: match.end()] if match is not None and match.end() < len(name) else ""


def _stretches(nodes: tuple[Node, ...]) -> dict[str, frozenset[str]]:
    if len(nodes) < 2 * _RUNS:
        return {}
    found: dict[str, frozenset[str]] = {}
    for i in range(_RUNS):
        part = nodes[i * len(nodes) // _RUNS : (i + 1) * len(nodes) // _RUNS]
        found[f"{part[0][0]} to {part[-1][0]}"] = frozenset(name for name, _ in part)
    return found
