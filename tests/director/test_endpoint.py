"""A prompt server may be slow, broken or hostile: the rewrite is there in time all the same."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import BackendError
from studio.core.preset import load_presets
from studio.director.endpoint import Endpoint, build
from studio.director.rewrite import rewrite

POCKET = load_presets([Path(__file__).parents[2] / "presets"])["pocket"]
GOOD = {
    "shots": [
        {
            "seconds": 2,
            "short": "a red ball rises",
            "lighting": "at night",
            "background": "over the sea",
            "camera": "pan left",
        }
    ]
}
INJECTED = {"shots": [{"seconds": 1e9, "short": "__import__('os').system('x') ../../etc/passwd"}]}


class Server(ThreadingHTTPServer):
    """A fake OpenAI-compatible server that answers as the test says."""

    answer: Any = ""
    status = 200
    delay_s = 0.0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.delay_s)
        content = (
            self.server.answer
            if isinstance(self.server.answer, str)
            else json.dumps(self.server.answer)
        )
        body = json.dumps(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": content},
                    }
                ],
            }
        ).encode()
        try:
            self.send_response(self.server.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except BrokenPipeError:
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # The hub's offline switch, which tests set, also stops calls to a server of one's own.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    httpd = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def ask(server: Server, timeout_s: float = 10.0) -> Endpoint:
    return Endpoint(f"http://127.0.0.1:{server.server_port}/v1", "m", timeout_s=timeout_s)


def test_a_good_answer_becomes_the_shot_list(server: Server) -> None:
    server.answer = GOOD
    result = rewrite("red ball goes up", "director", POCKET, writer=ask(server))
    assert result.backend == "endpoint"
    assert result.text == "a red ball rises over the sea at night, camera pans left"


@pytest.mark.parametrize(
    "answer",
    ["no JSON here", '{"shots": []}', "{" * 5000, "x" * 1_000_000, '{"shots": [{"a": 1}]}'],
    ids=["text", "empty", "deep", "1 MB", "other fields"],
)
def test_an_unusable_answer_falls_back_to_the_rules(server: Server, answer: str) -> None:
    server.answer = answer
    result = rewrite("red ball goes up", "director", POCKET, writer=ask(server))
    assert result.backend == "rules"
    assert "built-in rules were used" in result.notes[0]


def test_a_server_error_falls_back(server: Server) -> None:
    server.status = 500
    assert rewrite("a ball", "director", POCKET, writer=ask(server)).backend == "rules"


def test_a_slow_server_costs_no_more_than_the_timeout(server: Server) -> None:
    server.delay_s = 3.0
    start = time.monotonic()
    result = rewrite("a ball", "director", POCKET, writer=ask(server, timeout_s=0.5))
    assert result.backend == "rules"
    assert time.monotonic() - start < 2.5


def test_an_injected_answer_is_only_text(server: Server) -> None:
    server.answer = INJECTED
    result = rewrite("a ball", "director", POCKET, writer=ask(server))
    assert result.shots[0].seconds <= POCKET.limits.max_seconds
    assert "etc/passwd" in result.text


def test_control_characters_in_an_answer_are_refused() -> None:
    with pytest.raises(BackendError):
        build("a", "director", POCKET, json.dumps({"shots": [{"seconds": 1, "short": "a\x00b"}]}))
