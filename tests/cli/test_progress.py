from __future__ import annotations

import io
from types import SimpleNamespace

from rich.console import Console

from accel.cli.progress import Progress


class Hand:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def drawn(on_terminal: bool) -> tuple[Progress, Hand, io.StringIO]:
    out, clock = io.StringIO(), Hand()
    console = Console(file=out, force_terminal=on_terminal, width=80, _environ={"TERM": "xterm"})
    return Progress(console, clock), clock, out


def story(progress: Progress, clock: Hand) -> None:
    progress.stage("preparing int8")
    progress.time(1.0, 300.0)
    clock.now += 12
    progress.done("int8", SimpleNamespace(status="refused", reason="accuracy fell by 3 pp"))
    progress.done("plain", SimpleNamespace(status="ok", reason="", target="batch", batching="fixed"))
    clock.now += 1
    progress.best("plain, 1.0x")
    progress.best("plain, 1.0x")
    progress.time(72.0, 300.0)


def test_without_a_terminal_each_step_is_a_plain_line() -> None:
    progress, clock, out = drawn(on_terminal=False)
    with progress:
        story(progress, clock)
    assert out.getvalue().splitlines() == [
        "[   0 s] preparing int8",
        "[  12 s] int8: refused, accuracy fell by 3 pp",
        "[  12 s] plain: measured (batch, fixed 8)",
        "[  13 s] best so far: plain, 1.0x",
    ]


def test_on_a_terminal_all_of_it_is_shown() -> None:
    progress, clock, out = drawn(on_terminal=True)
    with progress:
        story(progress, clock)
        clock.now += 5
        progress.time(77.0, 300.0)
    text = out.getvalue()
    for words in ("preparing int8", "1 refused", "1 measured", "plain, 1.0x", "1 min 17 s of 5 min 0 s", "3 min 43 s"):
        assert words in text


def test_it_redraws_at_most_once_a_second() -> None:
    progress, clock, out = drawn(on_terminal=True)
    with progress:
        draws = 0
        for _ in range(1000):
            before = len(out.getvalue())
            clock.now += 0.01
            progress.time(clock.now - 100, 300)
            draws += len(out.getvalue()) > before
    assert 9 <= draws <= 11


def test_markup_in_names_stays_text() -> None:
    progress, _, out = drawn(on_terminal=False)
    with progress:
        progress.stage("[red]openvino[/red] x[0]")
    assert "[red]openvino[/red] x[0]" in out.getvalue()
