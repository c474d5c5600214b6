"""The public API as tools for language models; only where the extra is installed."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Iterator

import pytest

from studio.core.errors import RequestError
from studio.core.settings import Settings
from studio.ui.serve import check_mcp
from tests.ui.test_web_process import free_port, start, wait_until_up

HERE = importlib.util.find_spec("mcp") is not None
TOOLS = {"generate", "status", "result", "plan", "rewrite", "presets"}


def test_without_the_extra_it_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"requirements-extras\.txt"):
        check_mcp(Settings(mcp=True))
    check_mcp(Settings(mcp=False))


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    port = free_port()
    process = start(tmp_path_factory.mktemp("mcp"), port, STUDIO_MCP="1")
    try:
        wait_until_up(process, f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}/gradio_api/mcp/"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(not HERE, reason="the extra mcp is not installed")
def test_generate_status_result_and_the_others_are_tools(url):
    names, found = asyncio.run(converse(url))
    assert names == TOOLS
    assert found["state"] == "done"
    assert found["result"]["summary"]["frames"] == 5
    assert found["plan"]["frames"] == 5


async def converse(url: str) -> tuple[set[str], dict]:
    """A language model's side: list the tools, make a clip with them."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    asked = {"kind": "t2v", "prompt": "a red ball", "frames": 5, "num_inference_steps": 2}
    async with (
        streamablehttp_client(url) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        tools = (await session.list_tools()).tools
        assert all(tool.description for tool in tools)

        async def call(name: str, **arguments: object) -> object:
            answer = await session.call_tool(name, arguments)
            assert not answer.isError, answer.content
            return plain(answer.content[0].text)

        job_id = await call("generate", request=asked)
        state: dict = {}
        for _ in range(600):
            state = await call("status", job_id=job_id)
            if state["state"] in ("done", "failed"):
                break
            await asyncio.sleep(0.5)
        result = await call("result", job_id=job_id)
        planned = await call("plan", request=asked)
    return {tool.name for tool in tools}, {**state, "result": result, "plan": planned}


def plain(text: str) -> object:
    """A tool's answer: JSON, Python's notation, or words."""
    import ast

    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text
