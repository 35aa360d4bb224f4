from __future__ import annotations

import inspect
import pkgutil

import accel
from tests.public_api import GOLDEN, as_text


def test_the_public_names_and_signatures_are_those_on_record() -> None:
    """Fails on any change; if it is meant, run `python -m tests.public_api` and say so in CHANGELOG.md."""
    assert as_text().splitlines() == GOLDEN.read_text("utf-8").splitlines()


def test_all_is_sorted_complete_and_resolvable() -> None:
    assert list(accel.__all__) == sorted(accel.__all__)
    assert set(accel.__all__) <= set(dir(accel))
    for name in accel.__all__:
        assert getattr(accel, name) is not None


def test_no_public_function_shares_a_subpackages_name() -> None:
    """Importing `accel.NAME` would replace the function by the module, at a moment nobody sees."""
    modules = {module.name for module in pkgutil.iter_modules(accel.__path__)}
    functions = {name for name in accel.__all__ if inspect.isroutine(getattr(accel, name))}
    assert functions & modules == set()
    assert set(accel.__all__) & modules == set()


def test_every_public_name_is_documented() -> None:
    for name in accel.__all__:
        assert (inspect.getdoc(getattr(accel, name)) or "").strip(), f"accel.{name} has no docstring"


def test_type_checkers_see_the_same_names() -> None:
    """The names resolved at run time are those that stand under TYPE_CHECKING."""
    source = inspect.getsource(accel)
    for name in accel.__all__:
        assert f" as {name}\n" in source, f"accel.{name} is invisible to type checkers"


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(accel, "bnech")
