"""The rest before a fresh process: a moment on a processor, on a GPU until it is as cool as it was at the start."""

from __future__ import annotations

import time
from collections.abc import Callable

from accel.study.profiles import Profile

_WITHIN_C, _LONGEST_S, _LOOK_EVERY_S = 3.0, 60.0, 1.0


class Rest:
    """Rule 34: `cool_down_s`; with a GPU until it is within 3 °C of its first reading, for 60 s at most.

    temperature_c gives the hottest GPU's temperature, None where it can't be read. wait and now are for tests.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        temperature_c: Callable[[], float | None] = lambda: None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._profile, self._temperature_c, self._wait = profile, temperature_c, wait
        self._first_c: float | None = None

    def __call__(self, longest_s: float = _LONGEST_S) -> float:
        """Rest for `longest_s` at most; gives the seconds that were waited."""
        waited = min(self._profile.cool_down_s, longest_s)
        if waited > 0:
            self._wait(waited)
        now_c = self._temperature_c()
        if self._first_c is None:
            self._first_c = now_c
        while (
            now_c is not None and now_c > (self._first_c or now_c) + _WITHIN_C and waited < min(_LONGEST_S, longest_s)
        ):
            self._wait(_LOOK_EVERY_S)
            waited += _LOOK_EVERY_S
            now_c = self._temperature_c()
        return waited


def rest_of(profile: Profile) -> Callable[[], None]:
    """The rest that a profile asks for; the temperature of a GPU is looked at in the profile `gpu` alone."""
    from accel.measurement import nvml

    found = nvml.find() if profile.name == "gpu" else None
    rest = Rest(profile) if found is None else Rest(profile, temperature_c=found.temperature_c)

    def take() -> None:
        rest()

    return take
