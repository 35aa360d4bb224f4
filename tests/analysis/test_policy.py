"""A policy in words: as it is configured, never its curve, and never a crash over what a file may hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import plugins
from accel.analysis import policy
from accel.plugins import Named

CURVE = ((1, 0.010), (2, 0.012), (9, 0.031))


@pytest.mark.parametrize(
    ("name", "fields", "said", "short"),
    [
        ("single", {}, "one request at a time", "single"),
        ("fixed", {}, "batches of 8", "fixed 8"),
        ("fixed", {"size": 32}, "batches of 32", "fixed 32"),
        ("dynamic", {}, "dynamic batches of up to 16", "dynamic ≤ 16"),
        ("dynamic", {"max_size": 1}, "one request at a time", "dynamic ≤ 1"),
        (
            "dynamic",
            {"max_size": 16, "target": 9, "drop": "early", "slo_s": 0.05, "curve": CURVE},
            "dynamic batches of up to 9, drops what would be late",
            "dynamic ≤ 9, drops",
        ),
        (
            "dynamic",
            {"drop": "queue", "defer": True},
            "dynamic batches of up to 16, drops the oldest when not all that wait can be answered in time, "
            "waits for company while the deadline allows",
            "dynamic ≤ 16, drops",
        ),
        (
            "dynamic",
            {"drop": "age"},
            "dynamic batches of up to 16, drops what has waited too long",
            "dynamic ≤ 16, drops",
        ),
        ("early_commit", {}, "closes a batch at 10 or after 10 ms, worker free or not", "early_commit 10"),
        ("window", {"size": 4, "timeout_s": 0.005}, "collects up to 4 for 5 ms", "window 4"),
        ("bucketed", {}, "batches of up to 16 of like length", "bucketed ≤ 16"),
        (
            "bucketed",
            {"tokens": 4096},
            "batches of up to 16 of like length, at most 4096 tokens with padding",
            "bucketed ≤ 16",
        ),
        ("theirs", {"size": 3, "weights": [1, 2]}, "theirs(size=3)", "theirs 3"),
    ],
)
def test_a_policy_is_said_alike_from_its_fields_and_from_its_text(
    name: str, fields: dict[str, Any], said: str, short: str
) -> None:
    named = Named(name, fields)
    assert policy.said(named) == policy.said(str(named)) == said
    assert policy.short(named) == policy.short(str(named)) == short


@pytest.mark.parametrize("name", plugins.names("batching"))
def test_the_defaults_are_those_of_the_plug_ins(name: str) -> None:
    """A stored policy leaves its defaults out, so the words have to know them."""
    made = plugins.load("batching", name)()
    for field, value in policy._DEFAULTS.get(name, {}).items():
        assert getattr(made, field) == value


@pytest.mark.parametrize("name", plugins.names("batching"))
def test_every_policy_there_is_has_words_of_its_own(name: str) -> None:
    assert "(" not in policy.said(Named(name))
    assert policy.said(Named(name)) != name


def test_words_of_older_readings_stay() -> None:
    assert policy.said("dynamic, up to 16") == "dynamic, up to 16"
    assert policy.short("dynamic, up to 16") == "dynamic, up to 16"


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)
_FIELDS = st.sampled_from(["max_size", "target", "drop", "defer", "size", "timeout_s", "tokens", "curve", "x"])


@given(st.sampled_from([*plugins.names("batching"), "theirs"]), st.dictionaries(_FIELDS, _PLAIN, max_size=4))
def test_whatever_a_file_holds_can_be_said(name: str, fields: dict[str, Any]) -> None:
    for given_ in (Named(name, fields), str(Named(name, fields))):
        assert isinstance(policy.said(given_), str)
        assert isinstance(policy.short(given_), str)


@given(st.text(max_size=60))
def test_any_text_can_be_said(text: str) -> None:
    assert isinstance(policy.said(text), str)
    assert isinstance(policy.short(text), str)
