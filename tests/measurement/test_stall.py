from __future__ import annotations

import signal
import threading

from accel.measurement.stall import Stall


class Sent:
    """Notes the signals in order; `both` is set at the second."""

    def __init__(self) -> None:
        self.signals: list[signal.Signals] = []
        self.both = threading.Event()

    def __call__(self, number: signal.Signals) -> None:
        self.signals.append(number)
        if len(self.signals) == 2:
            self.both.set()


def test_one_stop_and_one_go_on_however_often_it_begins() -> None:
    sent = Sent()
    stall = Stall(sent, 0.0, 0.0)
    assert stall.lasted_s is None
    stall.begin()
    stall.begin()
    assert sent.both.wait(10)
    stall.cancel()
    assert sent.signals == [signal.SIGSTOP, signal.SIGCONT]
    assert stall.lasted_s is not None


def test_cancelled_before_it_freezes_it_sends_nothing() -> None:
    sent = Sent()
    stall = Stall(sent, 1000.0, 1000.0)
    stall.begin()
    stall.cancel()
    assert sent.signals == []
    assert stall.lasted_s is None


def test_cancelled_while_frozen_it_goes_on_at_once() -> None:
    stopped = threading.Event()
    signals: list[signal.Signals] = []

    def send(number: signal.Signals) -> None:
        signals.append(number)
        stopped.set()

    stall = Stall(send, 0.0, 1000.0)
    stall.begin()
    assert stopped.wait(10)
    stall.cancel()
    assert signals == [signal.SIGSTOP, signal.SIGCONT]
