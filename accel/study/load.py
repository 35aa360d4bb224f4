"""Which load does a server run get, so that its last counted requests are served like its first?"""

from __future__ import annotations

import msgspec

from accel.plugins import Named
from accel.scenarios.server import Server

_TAIL_S: float = next(f.default for f in msgspec.structs.fields(Server) if f.name == "tail_s")


def server_at(rate: float, limit_s: float | None) -> Named:
    """Poisson arrivals at `rate` that go on for the latency limit or 1 s after the counted part (rule 13).

    >>> str(server_at(50.0, 0.02)), str(server_at(50.0, 3.0))
    ('server(rate=50.0)', 'server(rate=50.0, tail_s=3.0)')
    """
    return covering(Named("server", {"rate": rate}), limit_s)


def covering(scenario: Named, limit_s: float | None) -> Named:
    """A server scenario whose load outlasts the limit; where the usual second does, it stays as it is."""
    if scenario.name != "server" or limit_s is None or limit_s <= _TAIL_S:
        return scenario
    return Named(scenario.name, {**scenario.fields, "tail_s": limit_s})
