"""Recorded arrivals: read, scaled, repeated; and one clear sentence for every bad file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.errors import InputError
from accel.scenarios import Plan, _recorded
from accel.scenarios._recorded import Recording, read_recording
from accel.scenarios.server import Server

TIMES = [100.0, 100.5, 102.0, 102.0, 103.0]
"""Five arrivals in 3 s: 4/3 per second, so that the recording lasts 3.75 s."""


def written(folder: Path, text: str = "\n".join(map(str, TIMES))) -> str:
    path = folder / "arrivals.csv"
    path.write_text(text, "utf-8")
    return str(path)


def planned(trace: str, duration_s: float, **more: float) -> Plan:
    fields = {"lead_s": 0.0, "tail_s": 0.0} | more
    server = Server(arrivals="replay", trace=trace, **fields)  # type: ignore[arg-type]
    return server.plan(9, seed=1, trial=0, duration_s=duration_s)


def due_s(plan: Plan) -> list[float]:
    assert plan.due_ns is not None
    return [round(float(t) * 1e-9, 6) for t in plan.due_ns]


def test_its_own_rate_begins_with_its_first_arrival(tmp_path: Path) -> None:
    plan = planned(written(tmp_path), 3.75)
    assert due_s(plan) == [0.0, 0.5, 2.0, 2.0, 3.0]
    assert plan.notes == ()


def test_a_rate_scales_it(tmp_path: Path) -> None:
    assert due_s(planned(written(tmp_path), 1.875, rate=8 / 3)) == [0.0, 0.25, 1.0, 1.0, 1.5]


def test_a_short_one_is_repeated_and_says_so(tmp_path: Path) -> None:
    plan = planned(written(tmp_path), 6.0)
    assert due_s(plan) == [0.0, 0.5, 2.0, 2.0, 3.0, 3.75, 4.25, 5.75, 5.75]
    assert plan.notes == ("the recorded arrivals last 3.75 s and were repeated end to end to fill 6 s",)


def test_lead_and_tail_are_what_lies_before_and_after(tmp_path: Path) -> None:
    plan = planned(written(tmp_path), 2.5, lead_s=1.0, tail_s=1.0)
    assert (plan.warmup, plan.tail) == (1, 1)
    # The last arrival of the round before came 0.75 s earlier; after 2.5 s the one at 3.0 s follows.
    assert due_s(plan) == [0.25, 1.0, 1.5, 3.0, 3.0, 4.0]


@given(
    times=st.lists(st.integers(0, 10_000), min_size=2, max_size=40).map(sorted).filter(lambda t: t[0] < t[-1]),
    rounds=st.integers(1, 4),
)
def test_whole_rounds_hold_every_arrival_as_often(times: list[int], rounds: int) -> None:
    recording = Recording(offsets_s=np.array(times, np.float64) - times[0])
    found, _ = recording.between(0.0, rounds * recording.length_s * (1 - 1e-12))
    assert len(found) == rounds * len(times)
    assert (np.diff(found) >= 0).all()
    assert recording.rate == pytest.approx((len(times) - 1) / (times[-1] - times[0]))


@pytest.mark.parametrize("text", ["seconds\n1\n2.5\n\n4e0\n", "\ufeff1\r\n2.5\r\n4\r\n"])
def test_headers_blank_lines_and_windows_files_are_read(tmp_path: Path, text: str) -> None:
    assert read_recording(Path(written(tmp_path, text))).offsets_s.tolist() == [0.0, 1.5, 3.0]


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_arrays_are_read(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    np.save(tmp_path / "a.npy", np.array([1, 2, 4, 8, 16], dtype).reshape(shape))
    assert read_recording(tmp_path / "a.npy").offsets_s.tolist() == [0, 1, 3, 7, 15]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "two different times are needed"),
        ("seconds\n", "two different times are needed"),
        ("1\n1\n1", "two different times are needed"),
        ("t\n1\n2\nthree\n4", "Line 4 of .* is `three`, not a number"),
        ("1,2\n3,4,5\n5,6", "Line 2 of .* is `3,4,5`, not a number"),
        ("1\nnan\n3", "Arrival 2 of .* is `nan`, no time"),
        ("1\n2\ninf", "Arrival 3 of .* is `inf`, no time"),
        ("0\n1e308", "lie further apart than 1e\\+09 s"),
        ("1\n5\n4\n9", "Arrival 3 of .* lies before the one above it. Sort the file"),
    ],
)
def test_bad_columns_get_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        read_recording(Path(written(tmp_path, text)))
    assert "\n" not in str(error.value)


def test_bad_files_get_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_recording(tmp_path / "no.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="are no text"):
        read_recording(tmp_path / "binary.csv")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="no array of numbers"):
        read_recording(tmp_path / "broken.npy")
    np.save(tmp_path / "objects.npy", np.array([object(), 1], object), allow_pickle=True)
    with pytest.raises(InputError, match="no array of numbers"):
        read_recording(tmp_path / "objects.npy")
    np.save(tmp_path / "square.npy", np.zeros((3, 3)))
    with pytest.raises(InputError, match="two different times"):
        read_recording(tmp_path / "square.npy")
    monkeypatch.setattr(_recorded, "MOST_BYTES", 10)
    with pytest.raises(InputError, match="at most 10 are read"):
        read_recording(Path(written(tmp_path)))


def test_a_run_that_would_repeat_it_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Lower the rate or the duration"):
        planned(written(tmp_path), 1000.0, rate=1e6)


@pytest.mark.parametrize("server", [Server(arrivals="replay"), Server(trace="a.csv")])
def test_a_recording_and_its_name_belong_together(server: Server) -> None:
    with pytest.raises(InputError, match="give both or neither"):
        server.plan(5, seed=0, trial=0, duration_s=1.0)


def test_samples_differ_by_trial_though_arrivals_do_not(tmp_path: Path) -> None:
    server = Server(arrivals="replay", trace=written(tmp_path))
    one, two = (server.plan(9, seed=1, trial=t, duration_s=20.0) for t in (0, 1))
    assert due_s(one) == due_s(two)
    assert one.sample_ids.tolist() != two.sample_ids.tolist()


def test_lengths_beside_the_times_go_with_their_requests(tmp_path: Path) -> None:
    text = "time,tokens\n0,7\n1,12\n3,9\n"
    plan = planned(written(tmp_path, text), 9.0)  # 3 arrivals in 4.5 s, so twice
    assert due_s(plan) == [0.0, 1.0, 3.0, 4.5, 5.5, 7.5]
    assert plan.lengths is not None
    assert plan.lengths.tolist() == [7, 12, 9, 7, 12, 9]


def test_lengths_go_with_load_before_and_after_too(tmp_path: Path) -> None:
    plan = planned(written(tmp_path, "0;1\n1;2\n2;3\n3;4\n"), 4.0, lead_s=1.0, tail_s=1.0)
    assert plan.lengths is not None
    assert plan.lengths.tolist() == [4, 1, 2, 3, 4, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0,7\n1,2.5\n", "The length of arrival 2"),
        ("0,0\n1,2\n", "must be a whole number from 1"),
        ("0,7\n1\n", "Line 2"),
        ("0,7,1\n1,2,3\n", "Line 1"),
        ("0,7\n1,nan\n", "The length of arrival 2"),
    ],
)
def test_bad_lengths_are_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_recording(Path(written(tmp_path, text)))


def test_a_device_is_no_file() -> None:
    with pytest.raises(InputError, match="are no file"):
        read_recording(Path("/dev/zero"))
