"""A small HTTP server whose truth is known: how long it takes, what it answers, how it misbehaves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import numpy as np

from accel.compilation import _v2 as v2

METADATA = {
    "name": "small",
    "platform": "known",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
}
Reply = tuple[int, str, bytes]


def scores(x: np.ndarray) -> np.ndarray:
    """What the model answers: the first three values of each row."""
    return np.asarray(x, np.float32).reshape(-1, 4)[:, :3]


class KnownServer:
    """Answers on 127.0.0.1 in `service_s`, `workers` requests at once, under /v2/models/small and /predict.

    misbehave: called with the number of each inference (from 0); gives a reply instead of the answer, or None.
    send: SIGSTOP lets nothing be answered until SIGCONT, as if the process were frozen.
    keep_alive: False closes after each answer.
    """

    def __init__(
        self,
        *,
        service_s: float = 0.0,
        workers: int = 1,
        binary: bool = False,
        keep_alive: bool = True,
        metadata: dict[str, Any] | None = None,
        misbehave: Callable[[int], Reply | None] = lambda _: None,
    ) -> None:
        self.service_s, self.binary, self.keep_alive = service_s, binary, keep_alive
        self.metadata = metadata or METADATA
        self.misbehave = misbehave
        self.asked = 0
        self.seen: list[Any] = []
        self.connections = 0
        self._turn = threading.BoundedSemaphore(workers)
        self._counting = threading.Lock()
        self._going = threading.Event()
        self._going.set()
        self._open: set[Any] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(), bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.request_queue_size = 128
        self._server.server_bind()
        self._server.server_activate()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def v2_url(self) -> str:
        return f"{self.base}/v2/models/small"

    @property
    def json_url(self) -> str:
        return f"{self.base}/predict"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Die: no new connections, and the open ones are cut."""
        self._server.shutdown()
        self._server.server_close()
        self.hang_up()

    def hang_up(self) -> None:
        """End every open connection; new ones are taken."""
        for connection in list(self._open):
            try:
                connection.shutdown(2)
            except OSError:
                continue

    def stop_soon(self) -> None:
        """Die from inside an answer."""
        threading.Thread(target=self.stop, daemon=True).start()

    def send(self, number: signal.Signals) -> None:
        if number == signal.SIGSTOP:
            self._going.clear()
        else:
            self._going.set()

    # --- answering ---------------------------------------------------------------------------------------------

    def answer(self, path: str, body: bytes, headers: Any) -> Reply:
        with self._counting:
            number, self.asked = self.asked, self.asked + 1
        odd = self.misbehave(number)
        if odd is not None:
            return odd
        with self._turn:
            self._going.wait()
            if self.service_s:
                time.sleep(self.service_s)
        if path == "/predict":
            told = json.loads(body)
            if len(self.seen) < 1000:
                self.seen.append(told)
            return 200, "application/json", json.dumps({"got": len(body)}).encode()
        return self._infer(body, headers)

    def _infer(self, body: bytes, headers: Any) -> Reply:
        length = headers.get(v2.HEADER_LENGTH)
        head = json.loads(body[: int(length)] if length else body)
        given = head["inputs"][0]
        if given["name"] != "x" or given["datatype"] != "FP32":
            return 400, "application/json", b'{"error": "unexpected input `%s`"}' % given["name"].encode()
        x = np.frombuffer(body[int(length) :], "<f4") if length else np.array(given["data"], np.float32)
        y = scores(x)
        if len(self.seen) < 1000:
            self.seen.append(x)
        if not length:
            told = {"name": "y", "datatype": "FP32", "shape": list(y.shape), "data": y.ravel().tolist()}
            return 200, "application/json", json.dumps({"model_name": "small", "outputs": [told]}).encode()
        raw = np.ascontiguousarray(y, "<f4").tobytes()
        sized = {"name": "y", "datatype": "FP32", "shape": list(y.shape), "parameters": {"binary_data_size": len(raw)}}
        text = json.dumps({"model_name": "small", "outputs": [sized]}).encode()
        return 200, f"application/octet-stream;{len(text)}", text + raw

    def look(self, path: str) -> Reply:
        extensions = [v2.BINARY_EXTENSION] if self.binary else []
        pages = {
            "/v2": {"name": "known", "version": "1", "extensions": extensions},
            "/v2/health/live": {"live": True},
            "/v2/models/small": self.metadata,
        }
        if path not in pages:
            return 404, "application/json", b'{"error": "not here"}'
        return 200, "application/json", json.dumps(pages[path]).encode()

    def _handler(known) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1" if known.keep_alive else "HTTP/1.0"
            disable_nagle_algorithm = True
            wbufsize = -1

            def setup(self) -> None:
                super().setup()
                known.connections += 1
                known._open.add(self.connection)

            def finish(self) -> None:
                known._open.discard(self.connection)
                try:
                    super().finish()
                except OSError:
                    return

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    return

            def do_GET(self) -> None:
                self._send(known.look(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path not in ("/predict", "/v2/models/small/infer"):
                    self._send((404, "application/json", b'{"error": "no such path"}'))
                    return
                self._send(known.answer(self.path, body, self.headers))

            def _send(self, reply: Reply) -> None:
                status, kind, body = reply
                if not status:  # hang up
                    self.close_connection = True
                    return
                kind, _, length = kind.partition(";")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                if length:
                    self.send_header(v2.HEADER_LENGTH, length)
                if 300 <= status < 400:
                    self.send_header("Location", "http://192.0.2.1/elsewhere")
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()

            def log_message(self, *_: Any) -> None:
                return

        return Handler


class OtherProcess:
    """A known server in a process of its own, which a signal can freeze."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.v2_url = f"http://127.0.0.1:{port}/v2/models/small"

    def send(self, number: signal.Signals) -> None:
        """Stop the whole process, or let it go on."""
        self._process.send_signal(number)


@contextlib.contextmanager
def in_process_of_its_own(*, service_s: float, workers: int = 1) -> Iterator[OtherProcess]:
    """Start `python -m tests.known_server`; it ends with this block, or with its parent."""
    words = [sys.executable, "-m", "tests.known_server", str(service_s), str(workers), str(os.getpid())]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            assert process.stdout is not None
            yield OtherProcess(process, int(process.stdout.readline()))
        finally:
            process.kill()


def main() -> None:
    """SERVICE_S WORKERS PARENT: serve until the parent is gone."""
    service_s, workers, parent = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with KnownServer(service_s=service_s, workers=workers) as server:
        print(server.port, flush=True)
        while os.getppid() == parent:
            time.sleep(1.0)


if __name__ == "__main__":
    main()
