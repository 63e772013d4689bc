"""The operator's socket: its own user alone, bounded, and never in the node's way."""

import asyncio
import json
import os
import socket
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from node import control
from node.control import CONTROL_NAME, ControlServer, Diagnose, Links, ask
from node.errors import RefusedError
from node.limits import CONTROL_CONNECTIONS, CONTROL_REQUEST_BYTES
from node.transport.linkcontrol import LinkControl

MEMBERS = ("north", "south", "west")


def handlers(links: LinkControl) -> control.Handlers:
    def cut(request: Links) -> object:
        links.cut(MEMBERS, request.drop_to, request.drop_from)
        return {"drop_to": sorted(links.drop_to), "drop_from": sorted(links.drop_from)}

    def fail(_: Diagnose) -> object:
        raise ZeroDivisionError

    return {Links: cut, Diagnose: fail}


def with_server(data: Path, scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario beside a server, which must still answer afterwards."""

    async def run() -> None:
        server = ControlServer(data, handlers(LinkControl("north")))
        await server.start()
        try:
            await scenario()
            assert await asyncio.to_thread(ask, data, Links()) == {"drop_to": [], "drop_from": []}
        finally:
            await server.stop()
        assert not (data / CONTROL_NAME).exists()

    asyncio.run(run())


async def refusal(data: Path, request: control.Request) -> str:
    with pytest.raises(RefusedError) as caught:
        await asyncio.to_thread(ask, data, request)
    return caught.value.code


async def raw(data: Path, sent: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(data / CONTROL_NAME)
    writer.write(sent)
    answer: dict[str, Any] = json.loads(await reader.readline())
    writer.close()
    return answer


def test_links_are_cut_by_name_and_joined_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        both = Links(("west", "south"), ("south",))
        assert await asyncio.to_thread(ask, tmp_path, both) == {"drop_to": ["south", "west"], "drop_from": ["south"]}
        kept = await asyncio.to_thread(ask, tmp_path, Links(drop_to=()))
        assert kept == {"drop_to": [], "drop_from": ["south"]}  # what is not given stays
        for stranger in ("east", "north"):  # nobody, and the node itself
            assert await refusal(tmp_path, Links((stranger,))) == "unknown-peer"
        await asyncio.to_thread(ask, tmp_path, Links(drop_from=()))

    with_server(tmp_path, scenario)


def test_link_control_counts_what_it_drops() -> None:
    links = LinkControl("north")
    assert not links.loses_to("south") and not links.loses_from("south")
    links.cut(MEMBERS, ("south",), ("west",))
    assert [links.loses_to(name) for name in MEMBERS] == [False, True, False]
    assert [links.loses_from(name) for name in MEMBERS] == [False, False, True]
    assert links.dropped == 2


def test_only_the_user_may_open_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        mode = (tmp_path / CONTROL_NAME).stat().st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600

    with_server(tmp_path, scenario)


def test_a_socket_that_a_killed_node_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(tmp_path / CONTROL_NAME))

    async def scenario() -> None:
        assert await asyncio.to_thread(ask, tmp_path, Links()) is not None

    with_server(tmp_path, scenario)


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    data = tmp_path / ("d" * 120) / ("e" * 120)
    data.mkdir(parents=True)

    async def scenario() -> None:
        assert await asyncio.to_thread(ask, data, Links()) is not None

    with_server(data, scenario)


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"[1]\n",
        b"\xff\xfe\n",
        b'{"command": "vote"}\n',
        b'{"command": "links", "drop_to": "south"}\n',
        b'{"command": "links", "surprise": 1}\n',
        b"[" * 10_000 + b"\n",
        os.urandom(500).replace(b"\n", b"x") + b"\n",
    ],
)
def test_garbage_is_refused(tmp_path: Path, line: bytes) -> None:
    async def scenario() -> None:
        assert (await raw(tmp_path, line))["code"] == "malformed"

    with_server(tmp_path, scenario)


def test_requests_and_connections_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 59, for the operator's port: half a request, and silence, cost nothing lasting."""
    monkeypatch.setattr(control, "CONTROL_IDLE_SECONDS", 0.2)

    async def scenario() -> None:
        assert (await raw(tmp_path, b"x" * (2 * CONTROL_REQUEST_BYTES)))["code"] == "oversize"
        silent = [await asyncio.open_unix_connection(tmp_path / CONTROL_NAME) for _ in range(CONTROL_CONNECTIONS)]
        silent[0][1].write(b'{"command"')
        assert (await raw(tmp_path, b"\n"))["code"] == "busy"
        for reader, writer in silent:
            assert await reader.read() == b""  # closed by the node
            writer.close()

    with_server(tmp_path, scenario)


def test_a_mistake_in_a_handler_ends_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        assert await refusal(tmp_path, Diagnose()) == "internal"

    with_server(tmp_path, scenario)


def test_a_node_that_is_not_there_or_does_not_speak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RefusedError) as caught:
            ask(data, Links())
        assert caught.value.code == "not-running"
    monkeypatch.setattr(control, "ASK_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as dumb:
        dumb.bind(str(tmp_path / CONTROL_NAME))
        dumb.listen()
        began = time.monotonic()
        with pytest.raises(RefusedError) as caught:
            ask(tmp_path, Links())
    assert caught.value.code == "no-answer" and time.monotonic() - began < 2
