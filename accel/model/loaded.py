"""What a library's own loading code gave: a torch module, and with what it can be called."""

from __future__ import annotations

from typing import Any

import msgspec


class Loaded(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A network built by its name.

    module: in eval mode; gives plain tensors by name. example: arguments by name or in order, as tensors of two rows;
    None if samples tell them. short: the same as arrays with a shorter sequence, so that it is seen which axes may
    vary; None if none may.
    random_weights: True where weights were made up. notes: what was decided on the way, in sentences.
    """

    module: Any
    example: dict[str, Any] | tuple[Any, ...] | None = None
    short: dict[str, Any] | None = None
    random_weights: bool = False
    notes: tuple[str, ...] = ()
