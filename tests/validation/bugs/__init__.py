"""The bugs that V18 plants: what is replaced in the source, which rule that breaks, and who has to notice."""

from __future__ import annotations

from tests.validation.bugs import arriving, comparing, reading, running, searching, watching
from tests.validation.planting import Bug

ALL: tuple[Bug, ...] = (*running.BUGS, *arriving.BUGS, *reading.BUGS, *comparing.BUGS, *searching.BUGS, *watching.BUGS)
