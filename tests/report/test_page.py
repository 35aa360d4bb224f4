"""The page: the same bytes each time, nothing from outside, text escaped, every odd study shown."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from accel import plugins
from accel.errors import InputError
from accel.report import draw, page
from accel.report.charts import _theme
from tests.report import example, rescued
from tests.synthetic import synthetic_study

ROOT = Path(__file__).parents[2]


@cache
def rendered(case: str) -> str:
    conclusion = example.hostile() if case == "hostile" else example.odd_cases()[case]
    return page.render(conclusion, {} if case in ("everything failed", "nothing yet") else example.traces())


class Seen(HTMLParser):
    """Tags with their attributes, scripts, and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


PROGRAM = """
import hashlib, sys
from accel.report import page, table, jsonout
from tests.report import example, rescued
text = page.render(example.conclusion(), example.traces())
table.text(example.conclusion()), jsonout.as_json(example.conclusion())
print(hashlib.sha256(text.encode()).hexdigest())
print(sorted({m.partition(".")[0] for m in sys.modules} & {"torch", "onnxruntime", "openvino", "nncf", "onnx"}))
"""


def test_another_process_makes_the_same_bytes_without_torch_or_runtimes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    digest, runtimes = done.stdout.split("\n")[:2]
    assert digest == hashlib.sha256(rendered("usual").encode()).hexdigest()
    assert runtimes == "[]"


def test_drawing_again_gives_the_same_picture() -> None:
    draw._svg.cache_clear()
    again = page.render(example.conclusion(), example.traces())
    assert again == rendered("usual")


def test_ids_are_unique() -> None:
    ids = [a["id"] for _, a in Seen(rendered("usual")).tags if a.get("id")]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("case", ["usual", "hostile"])
def test_the_page_asks_for_nothing_from_outside(case: str) -> None:
    text = rendered(case)
    seen = Seen(text)
    for tag, attributes in seen.tags:
        for name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith("#"), (tag, name, value)
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
    bundle = max((s for _, s in seen.scripts), key=len)
    rest = text.replace(bundle, "")
    assert set(re.findall(r"https?://[^\"'\s<)]+", rest)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not re.search(r"url\((?!#)", rest)
    assert "@import" not in rest


def test_only_the_scripts_of_the_page_may_run() -> None:
    seen = Seen(rendered("usual"))
    policy = next(a["content"] for t, a in seen.tags if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    running = [text for attributes, text in seen.scripts if attributes.get("type") != "application/json"]
    assert len(running) == 2
    for text in running:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_hostile_text_stays_text() -> None:
    seen = Seen(rendered("hostile"))
    assert len(seen.scripts) == 3
    assert "img" not in {tag for tag, _ in seen.tags}
    for _, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in seen.text
    data = next(text for attributes, text in seen.scripts if attributes.get("type") == "application/json")
    assert "<" not in data
    assert "batch_size-wide" in msgspec.json.decode(data)


def test_a_page_of_thirty_runs_is_small_enough() -> None:
    usual = example.conclusion()
    good = usual.row("ORT INT8")
    more = tuple(msgspec.structs.replace(good, name=f"variant number {i}") for i in range(20))
    many = msgspec.structs.replace(usual, rows=(*usual.rows, *more))
    assert len(page.render(many, example.traces()).encode()) <= 3_000_000


def test_the_usual_first_screen() -> None:
    text = Seen(rendered("usual")).text
    for part in (
        "digits CNN",
        "2 × AMD EPYC 9R14",
        "22 Nov 2026",
        "quick · 4 min 51 s",
        "VALID · smallest difference shown here: 5 %",
        "296 requests/s",
        "[284–308] at p90 ≤ 20 ms · was 61 [59–63]",
        "720 items/s",
        "0.983 [0.972–0.991], was 0.984",
        "dynamic batches of up to 16, drops what would be late",
        "How many requests per second before p90 breaks 20 ms?",
        "Where it came from",
        "accel bench demo --slo p90=20ms --seed 1 --out demo-study",
    ):
        assert part in text, part
    assert "A fourth finding" not in text


def test_the_button_copies_code_that_opens_the_study() -> None:
    copied = [a["data-copy"] for t, a in Seen(rendered("usual")).tags if t == "button"]
    assert copied == [
        f'import accel\nstudy = accel.open_study("demo-study")\nmodel = study.best("{target}").load()'
        for target in ("online", "batch")
    ]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no winner", "Keep your model: nothing was shown to be faster."),
        ("no winner", "your model as it is"),
        ("no online", "Not asked for"),
        ("no online", "What does a larger batch buy?"),
        ("no batch", "Not asked for"),
        ("synthetic", "Speed only: inputs are synthetic, accuracy unknown."),
        ("synthetic", "synthetic inputs"),
        ("random weights", "random weights"),
        ("random weights", "28 dB"),
        ("interrupted", "This study was stopped before its end"),
        ("screening", "screening only: not proved yet"),
        ("predicted", "indicative: trials too short for this percentile"),
        ("everything failed", "Nothing could be measured."),
        ("everything failed", "crashed with SIGKILL"),
        ("nothing yet", "No variant was reached."),
        ("one open interval", "19.4–?"),
    ],
)
def test_odd_studies_say_what_is_odd(case: str, said: str) -> None:
    assert said in Seen(rendered(case)).text


def test_a_number_without_an_interval_is_not_printed() -> None:
    usual = example.conclusion()
    bare = msgspec.structs.replace(
        usual.rows[1].p50,
        value=0.00777,
        low=None,
        high=None,  # type: ignore[arg-type]
    )
    rows = (usual.rows[0], msgspec.structs.replace(usual.rows[1], p50=bare), *usual.rows[2:])
    assert "7.77" not in Seen(page.render(example.conclusion(rows=rows), {})).text


def test_every_trouble_is_told_with_reason_and_next_step() -> None:
    text = Seen(rendered("usual")).text
    for word in ("REFUSED", "FAILED", "WRONG", "SKIPPED", "SLOWER"):
        assert word in text
    assert "Segmentation fault (core dumped)" in text
    assert "pip install torchao" in text


def test_headings_and_table_headers_are_real() -> None:
    seen = Seen(rendered("usual"))
    assert [t for t, _ in seen.tags].count("h1") == 1
    for tag, attributes in seen.tags:
        if tag == "th":
            assert attributes.get("scope") in ("col", "row", "colgroup")
    assert dict(seen.tags[[t for t, _ in seen.tags].index("html")][1]) == {"lang": "en"}


def luminance(colour: str) -> float:
    if len(colour) == 4:
        colour = "#" + "".join(2 * c for c in colour[1:])
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: (lighter + 0.05) / (darker + 0.05)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_has_enough_contrast_in_light_and_dark(theme: int) -> None:
    style = (ROOT / "accel/report/templates/page.css").read_text()
    block = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[theme]
    c = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", block))
    pairs = [(text, ground) for text in ("ink", "muted", "accent") for ground in ("paper", "card")]
    pairs += [("good", "good-bg"), ("warn", "warn-bg"), ("bad", "bad-bg"), ("muted", "quiet-bg"), ("good", "paper")]
    pairs += [("warn", "paper"), ("bad", "paper")]
    for text, ground in pairs:
        assert contrast(c[text], c[ground]) >= 4.5, (text, ground)
    written = (_theme.INK, _theme.MUTED, _theme.ORIGINAL, _theme.WINNER, _theme.BAD, *_theme.OTHERS)
    for colour in written:
        assert contrast(_theme.DARK[colour] if theme else colour, c["paper"]) >= 4.5, colour


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    synthetic_study(folder, blocks=3, confirmations=2, measured_s=0.3, loads=True)
    return folder


def test_a_stored_study_is_written_twice_alike(study: Path, tmp_path: Path) -> None:
    page.write(study, tmp_path / "one.html")
    moved = tmp_path / "elsewhere"
    shutil.copytree(study, moved)
    page.write(moved, tmp_path / "new" / "two.html")
    one, two = (tmp_path / "one.html").read_bytes(), (tmp_path / "new" / "two.html").read_bytes()
    assert one == two
    assert b"How far does latency spread?" in one
    assert b"What does each batching policy do under load?" in one
    assert b"Batch against online" in one
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_without_a_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no study"):
        page.write(tmp_path, tmp_path / "report.html")


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(InputError, match="can't be read"):
        page.write(tmp_path, tmp_path / "report.html")


def test_a_place_that_can_not_be_written_is_named(study: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Choose another file"):
        page.write(study, tmp_path / "file" / "report.html")


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_every_picture_comes_to_life_in_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    every = msgspec.structs.replace(example.conclusion(), rescues=rescued.conclusion().rescues)
    path.write_text(page.render(every, example.traces()), encoding="utf-8")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    more = ("--disable-component-update", "--disable-sync", "--window-size=1280,7000", "--virtual-time-budget=20000")
    done = subprocess.run(
        [str(CHROMIUM), *flags, *more, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.count('data-live="yes"') == len(plugins.names("charts"))
    assert 'data-live="no"' not in done.stdout


def test_ranks_are_groups_with_escaped_names() -> None:
    names = (("OpenVINO <b>INT8</b>", "ORT INT8"), ("torch eager",))
    text = page.render(example.conclusion(groups={"batch": names, "latency": (("alone",),)}))
    assert "Who is shown to be faster than whom" in text
    assert "<li>OpenVINO &lt;b&gt;INT8&lt;/b&gt;, ORT INT8</li><li>torch eager</li>" in text
    assert "<li>alone</li>" not in text


def test_without_groups_there_is_no_ranking() -> None:
    assert 'id="ranking"' not in rendered("usual")


def test_what_must_be_said_of_a_rate_is_said() -> None:
    usual = example.conclusion()
    row = usual.row("OpenVINO INT8")
    assert row.online is not None
    flagged = msgspec.structs.replace(row.online, flags=("unconfirmed", "nonmonotone"), keeps_up=False)
    rows = tuple(msgspec.structs.replace(r, online=flagged) if r is row else r for r in usual.rows)
    seen = Seen(page.render(example.conclusion(rows=rows)))
    assert "unconfirmed: fresh trials there were above the limit" in seen.text
    assert "unconfirmed, nonmonotone, doesn't keep up" in seen.text


def test_service_time_stands_beside_latency_from_schedule() -> None:
    usual = example.conclusion()
    row = usual.row("OpenVINO INT8")
    assert row.online is not None
    known = {"service_p50": example.estimate(0.0027, 0.02, "s"), "service_p99": example.estimate(0.0031, 0.02, "s")}
    good = example.estimate(301.0, 0.01, "1/s")
    rows = tuple(
        msgspec.structs.replace(r, online=msgspec.structs.replace(row.online, goodput=good, **known)) if r is row else r
        for r in usual.rows
    )
    text = Seen(page.render(example.conclusion(rows=rows))).text
    assert "service 2.70 / 3.10 ms" in text
    assert "goodput 301" in text
