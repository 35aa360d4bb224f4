"""How a latency limit is written."""

from __future__ import annotations

import pytest

from accel.errors import InputError
from accel.slo import Slo, parse_slo


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("p99=20ms", Slo(0.99, 0.02)),
        ("p99<=20ms", Slo(0.99, 0.02)),
        (" p50 <= 3 s ", Slo(0.5, 3.0)),
        ("p99.9=1s", Slo(0.999, 1.0)),
        ("p90<100us", Slo(0.9, 1e-4)),
    ],
)
def test_an_slo_is_read(text: str, slo: Slo) -> None:
    found = parse_slo(text)
    assert found.p == slo.p
    assert found.seconds == pytest.approx(slo.seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p99", ["Quote it", 'p99<=20ms"', "p99=20ms"]),
        ("p99=", ["p99="]),
        ("p99=20", ["no unit", "p99=20ms or 20s"]),
        ("p99=1e2", ["no unit", "p99=1e2ms or 1e2s"]),
        ("p99.9 <= 0.5 ", ["no unit", "p99.9=0.5ms or 0.5s"]),
        ("mean=20ms", ["such as `p99=20ms`", "mean=20ms"]),
        ("p100=20ms", ["between 0 and 100", "p100"]),
        ("p0=20ms", ["between 0 and 100"]),
        ("p99=-20ms", ["greater than zero", "-20ms"]),
        ("p99=20mb", ["a time such as", "20mb"]),
        ("", ["such as `p99=20ms`"]),
    ],
)
def test_a_wrong_slo_says_what_is_wrong(text: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse_slo(text)
    for word in words:
        assert word in str(caught.value)
