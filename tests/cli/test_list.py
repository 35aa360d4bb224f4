"""`accel list NAME`: the fields of a plug-in, in words that can be typed into a recipe."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from accel.cli.list import _type_name
from tests.cli.conftest import Accel


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (int, "int"),
        (tuple[str, ...], "tuple[str, ...]"),
        (bool | None, "bool | None"),
        (Literal["f32", "bf16"], '"f32" | "bf16"'),
        (Annotated[int, msgspec.Meta(ge=1)] | None, "int >= 1 | None"),
        (Annotated[float, msgspec.Meta(gt=0, le=10)], "float > 0 and <= 10"),
        (dict[str, tuple[Annotated[int, msgspec.Meta(ge=0, lt=8)], ...]], "dict[str, tuple[int >= 0 and < 8, ...]]"),
    ],
)
def test_a_type_in_words(given: Any, told: str) -> None:
    assert _type_name(given) == told


def test_no_plugin_shows_how_python_writes_types(accel_cli: Accel) -> None:
    from accel import plugins

    for kind in plugins.WORDS:
        for name in plugins.names(kind):
            said = accel_cli("list", name).out
            assert not any(word in said for word in ("Annotated", "typing", "msgspec", "NoneType")), name
