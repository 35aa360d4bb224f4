"""What every test gets: a cache of its own, and property tests that don't fail because the machine is busy."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from accel.measurement import denormals

settings.register_profile("accel", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("accel")

ROOT = Path(__file__).parents[1]
_LONG = {"study", "validation", "contract", "cli", "standalone", "simulation"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start whole studies come first, so that no worker is left with a long one at the end."""
    long = {item.path for item in items if item.get_closest_marker("slow") or _LONG & set(item.path.parts)}
    items.sort(key=lambda item: item.path not in long)


def pytest_runtest_setup() -> None:
    """A test that opened an engine here, as a measure child does, may have left the smallest numbers as zero."""
    if denormals.flushes():
        denormals.flush(on=False)


@pytest.fixture(autouse=True, scope="session")
def _own_cache() -> Iterator[None]:
    """Keep artefacts of tests out of the user's cache; children inherit the variable."""
    with tempfile.TemporaryDirectory(prefix="accel-test-cache-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "XDG_CACHE_HOME", folder)
        yield
