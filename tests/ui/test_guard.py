"""Who is let in, and with what."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from studio.ui.door import Door
from studio.ui.guard import Guard, Policy, judge
from studio.ui.policy import LOOPBACK
from studio.ui.texts import texts

LOCAL = {"host": "127.0.0.1:7860"}


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def rules(tmp_path):
    return Policy(hosts=LOOPBACK, files=tmp_path, body_bytes=1000, upload_bytes=3000)


def client(rules, password=""):
    inner = Starlette(routes=[Route("/{path:path}", _echo, methods=["GET", "POST"])])
    door = Door(password, b"k" * 32, texts("en"))
    own = Starlette(
        routes=[
            Route("/login", door.login, methods=["GET", "POST"]),
            Route("/{path:path}", _echo),
        ]
    )
    guard = Guard(inner, policy=rules, own=own, door=door)
    return TestClient(guard, base_url="http://127.0.0.1:7860", follow_redirects=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7860", "localhost", "localhost:9999", "[::1]:7860", "LOCALHOST"]
)
def test_own_names_are_good(rules, host):
    assert judge("GET", "/", {"host": host}, rules) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "10.0.0.7", "[::1"]
)
def test_foreign_names_are_refused(rules, host):
    assert judge("GET", "/", {"host": host}, rules)[0] == 400


def test_addresses_are_good_names_where_others_may_come_in():
    rules = Policy(hosts=LOOPBACK, suffixes=(".hf.space",), any_address=True)
    assert judge("GET", "/", {"host": "10.0.0.7:7860"}, rules) is None
    assert judge("GET", "/", {"host": "me-studio.hf.space"}, rules) is None
    assert judge("GET", "/", {"host": "hf.space.evil.example"}, rules)[0] == 400


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1"]
)
def test_foreign_origins_are_refused(rules, method, origin):
    assert judge(method, "/gradio_api/upload", {**LOCAL, "origin": origin}, rules)[0] == 403


def test_own_origin_is_good(rules):
    headers = {**LOCAL, "origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"}
    assert judge("POST", "/gradio_api/upload", headers, rules) is None


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_unsafe_methods_need_the_same_site(rules, site):
    headers = {**LOCAL, "sec-fetch-site": site}
    assert judge("POST", "/gradio_api/queue/join", headers, rules)[0] == 403
    assert judge("GET", "/", headers, rules) is None


@pytest.mark.parametrize(
    "path",
    [
        "/pwa_icon/9000",
        "/gradio_api/process_recording",
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/proxy=https://evil.example",
        "/gradio_api/file=https://evil.example/a.png",
        "/gradio_api/deep_link",
        "/gradio_api/component_server",
        "/gradio_api/runs",
        "/gradio_api/vibe-code",
        "/docs",
    ],
)
def test_needless_routes_are_closed(rules, path):
    assert judge("GET", path, LOCAL, rules)[0] == 404


def test_only_media_of_the_upload_folder_is_served(rules, tmp_path):
    folder = tmp_path / "abc"
    folder.mkdir()
    (tmp_path / "out").symlink_to("/etc")
    assert judge("GET", f"/gradio_api/file={folder}/a.png", LOCAL, rules) is None
    for bad in (
        f"{folder}/a.html",
        f"{folder}/a.svg",
        "/etc/passwd",
        f"{folder}/../../../etc/a.png",
        f"{tmp_path}/out/a.png",
        "file:///etc/passwd",
        "a.png",
    ):
        assert judge("GET", f"/gradio_api/file={bad}", LOCAL, rules)[0] == 403, bad


def test_declared_bodies_are_capped(rules):
    for size, path, want in (
        ("1001", "/x", 413),
        ("3001", "/gradio_api/upload", 413),
        ("-1", "/x", 413),
        ("9" * 40, "/x", 413),
        ("2999", "/gradio_api/upload", None),
    ):
        found = judge("POST", path, {**LOCAL, "content-length": size}, rules)
        assert (found and found[0]) == want, size


def test_chunked_bodies_are_counted(rules):
    def chunks():
        for _ in range(40):
            yield b"x" * 100

    answer = client(rules).post("/x", content=chunks())
    assert answer.status_code == 413
    assert client(rules).post("/x", content=b"x" * 900).text == "900"


def test_uploads_stop_at_the_quota(rules, tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 5000)
    tight = Policy(hosts=LOOPBACK, files=tmp_path, quota_bytes=4999)
    answer = client(tight).post("/gradio_api/upload", content=b"x")
    assert answer.status_code == 413
    assert "disk is full" in answer.text


def test_every_answer_says_nosniff_and_stays_at_home(rules):
    for answer in (client(rules).get("/"), client(rules).get("/docs")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_without_the_password_nothing_is_answered(rules):
    shut = client(rules, "correct horse")
    assert shut.get("/", headers={"accept": "text/html"}).headers["location"] == "/login"
    for path in ("/", "/gradio_api/queue/data", "/studio/clips/a/b.mp4"):
        assert shut.get(path).status_code == 401
    assert shut.post("/gradio_api/upload", content=b"x").status_code == 401
    assert shut.get("/healthz").status_code == 200


def test_password_opens_and_the_session_lasts(rules):
    shut = client(rules, "correct horse")
    assert shut.post("/login", data={"password": "wrong"}).status_code == 401
    answer = shut.post("/login", data={"password": "correct horse"})
    assert answer.status_code in (200, 303)
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert shut.get("/").status_code == 200


def test_forged_sessions_are_refused(rules):
    shut = client(rules, "correct horse")
    for cookie in ("9999999999.abc", "9999999999", "", "x.y", "²²²²²²²²²².a"):
        headers = {"cookie": f"studio-session={cookie}".encode()}
        assert shut.get("/", headers=headers).status_code == 401


def test_programs_may_use_basic_authorisation(rules):
    shut = client(rules, "correct horse")
    assert shut.get("/", auth=("anyone", "correct horse")).status_code == 200
    assert shut.get("/", auth=("anyone", "wrong")).status_code == 401


def test_wrong_passwords_make_a_client_wait(rules):
    shut = client(rules, "correct horse")
    for _ in range(4):
        last = shut.post("/login", data={"password": "wrong"})
    assert last.status_code == 429
    assert int(last.headers["retry-after"]) >= 1
    assert shut.post("/login", data={"password": "correct horse"}).status_code == 429


def test_the_language_of_a_visitor():
    from studio.ui.languages import chosen_language

    assert chosen_language({"cookie": "studio-language=zh"}, "en") == "zh"
    assert chosen_language({"cookie": "a=b; studio-language=en"}, "zh") == "en"
    assert chosen_language({"cookie": "studio-language=../x"}, "en") == "en"
    assert chosen_language({"accept-language": "zh-CN,zh;q=0.9,en;q=0.8"}, "en") == "zh"
    assert chosen_language({"accept-language": "fr"}, "en") == "en"
    assert chosen_language({"accept-language": "en"}, "zh") == "zh"


def test_the_door_speaks_the_visitors_language():
    import asyncio

    from starlette.requests import Request

    from studio.ui.door import Door
    from studio.ui.texts import texts

    door = Door("secret", b"k" * 32, texts("en"))
    headers = [(b"cookie", b"studio-language=zh")]
    scope = {"type": "http", "method": "GET", "path": "/login", "headers": headers}
    page = asyncio.run(door.login(Request(scope))).body.decode()
    assert texts("zh")("login.title") in page
    assert 'lang="zh"' in page
