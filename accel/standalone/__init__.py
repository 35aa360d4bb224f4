"""Strategy 1 by itself: from a model to a compressed file that a plain runtime loads, judged but not timed."""

from __future__ import annotations
