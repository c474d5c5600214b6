"""Programs: gradio_client and plain HTTP against a studio that is served."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from gradio_client import Client

from studio.ui.shell import arguments_for, build_page, make_engine
from tests.ui.scripted import Studio, open_studio
from tests.ui.test_web_process import free_port

PASSWORD = "correct horse"
REQUEST = {"kind": "t2v", "prompt": "a red ball rises", "seconds": 0.4, "seed": 9}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Studio, str]]:
    """A studio behind a password, and its address."""
    folder = tmp_path_factory.mktemp("api")
    studio = open_studio(folder, port=free_port(), password=PASSWORD)
    engine = make_engine(studio.settings, studio.store, studio.library, studio.presets)
    page = build_page(engine)
    _, url, _ = page.launch(**arguments_for(engine))
    yield studio, url.rstrip("/")
    page.close(verbose=False)
    studio.store.close()


@pytest.fixture(scope="module")
def client(served: tuple[Studio, str]) -> Iterator[Client]:
    """A program that knows the password."""
    _, url = served
    opened = Client(url, auth=("anyone", PASSWORD), verbose=False, analytics_enabled=False)
    yield opened
    opened.close()


def test_generate_status_result(served, client):
    studio, url = served
    job_id = client.predict(REQUEST, api_name="/generate")
    assert client.predict(job_id, api_name="/status")["state"] == "queued"
    with pytest.raises(Exception, match="ask again when it is done"):
        client.predict(job_id, api_name="/result")
    job = studio.claim()
    studio.say(job, stage="sampling", step=3, steps=20, done=0.2)
    assert client.predict(job_id, api_name="/status")["progress"]["step"] == 3
    studio.finish(job)
    result = client.predict(job_id, api_name="/result")
    assert result["request"]["seed"] == result["summary"]["seed"] == 9
    assert "path" not in result["summary"]
    whole = httpx.get(url + result["url"], auth=("anyone", PASSWORD))
    assert whole.headers["content-type"] == "video/mp4"
    part = httpx.get(url + result["url"], auth=("anyone", PASSWORD), headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert whole.content[4:8] == b"ftyp"


def test_errors_are_sentences_for_programs_too(client):
    for bad, said in (
        ({"kind": "t2v", "prompt": ""}, "a prompt is needed"),
        ({**REQUEST, "seconds": 10_000}, "seconds"),
        ({**REQUEST, "preset": "nothing"}, "there is no preset"),
        ({**REQUEST, "surprise": 1}, "surprise is not a known option"),
        ({**REQUEST, "loras": [{"path": "/etc/passwd"}]}, "a LoRA lies in"),
    ):
        with pytest.raises(Exception, match=said):
            client.predict(bad, api_name="/generate")


def test_nothing_is_answered_without_the_password(served):
    _, url = served
    assert httpx.get(url).status_code == 401
    assert httpx.get(f"{url}/config").status_code == 401
    assert httpx.get(f"{url}/gradio_api/info").status_code == 401
    assert httpx.post(f"{url}/gradio_api/call/presets", json={"data": []}).status_code == 401
    assert httpx.get(f"{url}/healthz").status_code == 200
    page = httpx.get(url, headers={"accept": "text/html"}, follow_redirects=True)
    assert "password" in page.text


def test_hostile_values_are_refused_and_leave_no_job(served):
    studio, url = served
    config = httpx.get(f"{url}/config", auth=("x", PASSWORD)).json()
    before = len(studio.store.list(limit=1000))
    for dependency in config["dependencies"]:
        if not dependency["backend_fn"]:
            continue
        body = {
            "data": [{"evil": [1, None]}] * len(dependency["inputs"]),
            "fn_index": dependency["id"],
            "session_hash": "x",
            "event_data": {"do": ["cancel"], "id": {"a": 1}, "at": "NaN"},
        }
        answer = httpx.post(
            f"{url}/gradio_api/run/predict", json=body, auth=("x", PASSWORD), timeout=30
        )
        assert "Traceback" not in answer.text
    assert len(studio.store.list(limit=1000)) == before
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_rewrite_gives_a_prompt_or_shots(client):
    one = client.predict("red ball", "normal", "pocket", api_name="/rewrite")
    assert "red ball" in one["text"]
    many = client.predict("a red ball rises, then it falls", mode="director", api_name="/rewrite")
    assert len(many["shots"]) >= 2
    with pytest.raises(Exception, match="normal or director"):
        client.predict("red ball", "sideways", "pocket", api_name="/rewrite")


def test_only_these_endpoints_are_public(client):
    named = set(client.view_api(return_format="dict")["named_endpoints"])
    assert named == {"/generate", "/status", "/result", "/plan", "/rewrite", "/presets"}
