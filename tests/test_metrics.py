"""Metrics: what is shown, that it is bounded, and that the port bears garbage."""

import asyncio
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from node import metrics_server
from node.config import split_address
from node.diagnosis import Report, unready
from node.errors import ConfigError
from node.limits import METRICS_CONNECTIONS
from node.metrics import Metrics
from node.metrics_server import MetricsServer
from testnet.genesis import free_ports
from tests.test_diagnosis import HEALTHY, down

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """(name, labels) to value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def shown(report: Report = HEALTHY) -> Samples:
    return samples(prometheus_client.generate_latest(Metrics(lambda: report).registry).decode())


def with_server(scenario: Callable[[str], Awaitable[None]], because: tuple[str, ...] = ()) -> None:
    """Run a scenario beside a server, which must still answer afterwards."""

    async def run() -> None:
        address = f"127.0.0.1:{free_ports(1)[0]}"
        server = MetricsServer(address, Metrics(lambda: HEALTHY).registry, lambda: because)
        await server.start()
        try:
            await scenario(address)
            assert samples(await scrape(address))[("watt_height", ())] == 12
        finally:
            await server.stop()

    asyncio.run(run())


async def scrape(address: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


async def raw(address: str, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*split_address(address))
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    return answer.split(b"\r\n")[0]


def test_a_report_becomes_metrics() -> None:
    report = msgspec.structs.replace(
        HEALTHY,
        links=down("west"),
        view_changes={"silent": 2},
        bad_messages={"west": {"bad-signature": 7}},
        passive_because="recalling",
        snapshot_height=10,
    )
    found = shown(report)
    assert found[("watt_view_changes_total", (("cause", "silent"),))] == 2
    assert found[("watt_bad_messages_total", (("code", "bad-signature"), ("peer", "west")))] == 7
    assert found[("watt_peers_up", ())] == 2 and found[("watt_link_up", (("peer", "west"),))] == 0
    assert found[("watt_passive", ())] == 1 and found[("watt_snapshot_age_blocks", ())] == 2
    assert found[("process_open_fds", ())] > 0  # of this process


def test_links_of_who_is_no_member_raise_no_alarm() -> None:
    gone = msgspec.structs.replace(down("west")[-2], peer="gone", up=True)
    found = shown(msgspec.structs.replace(HEALTHY, links=(*down("west"), gone)))
    assert found[("watt_peers_up", ())] == 2 and ("watt_link_up", (("peer", "gone"),)) not in found


def test_every_metric_is_in_the_documentation() -> None:
    report = msgspec.structs.replace(HEALTHY, snapshot_height=10, view_changes={"silent": 1})
    page = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
    for family in Metrics(lambda: report).registry.collect():
        if family.name.startswith("watt_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            assert f"`{name}`" in page, name


def test_blocks_and_syncs_are_counted() -> None:
    metrics = Metrics(lambda: HEALTHY)
    metrics.stored(5, None)
    metrics.stored(7, 0.3)
    with metrics.sync():
        time.sleep(0.003)
    found = samples(prometheus_client.generate_latest(metrics.registry).decode())
    assert found[("watt_blocks_total", ())] == 2 and found[("watt_transactions_total", ())] == 12
    assert found[("watt_block_seconds_count", ())] == 1
    assert found[("watt_vote_log_sync_seconds_bucket", (("le", "0.002"),))] == 0
    assert found[("watt_vote_log_sync_seconds_count", ())] == 1


def test_every_metric_is_explained_and_the_default_registry_is_left_alone() -> None:
    text = prometheus_client.generate_latest(Metrics(lambda: HEALTHY).registry).decode()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    assert all(name.startswith(("watt_", "process_")) for name in names)
    assert all(len(line.split(" ", 3)[3]) > 3 for line in text.splitlines() if line.startswith("# HELP"))
    assert "watt_" not in prometheus_client.generate_latest(prometheus_client.REGISTRY).decode()


def test_it_is_scraped_over_http() -> None:
    async def scenario(address: str) -> None:
        assert await raw(address, b"GET / HTTP/1.1\r\n\r\n") == b"HTTP/1.1 404 Not Found"
        assert await raw(address, b"POST /metrics HTTP/1.1\r\n\r\n") == b"HTTP/1.1 405 Method Not Allowed"

    with_server(scenario)


@pytest.mark.parametrize("garbage", [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\r\n\r\n", b"x" * 70_000])
def test_garbage_is_refused(garbage: bytes) -> None:
    """Checklist 59, for the metrics' port."""

    async def scenario(address: str) -> None:
        assert await raw(address, garbage) == b"HTTP/1.1 400 Bad Request"

    with_server(scenario)


def test_silence_costs_nothing_lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checklist 59: connections that say nothing are few, and closed."""
    monkeypatch.setattr(metrics_server, "METRICS_SECONDS", 0.2)

    async def scenario(address: str) -> None:
        silent = [await asyncio.open_connection(*split_address(address)) for _ in range(METRICS_CONNECTIONS)]
        silent[0][1].write(b"GET /metr")
        assert await raw(address, b"") == b"HTTP/1.1 503 Service Unavailable"
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()

    with_server(scenario)


def test_a_port_in_use_is_named() -> None:
    async def scenario(address: str) -> None:
        with pytest.raises(ConfigError) as caught:
            await MetricsServer(address, Metrics(lambda: HEALTHY).registry, tuple).start()
        assert caught.value.code == "port-in-use"

    with_server(scenario)


def test_health_and_readiness_are_told_apart() -> None:
    async def well(address: str) -> None:
        assert await raw(address, b"GET /healthz HTTP/1.1\r\n\r\n") == b"HTTP/1.1 200 OK"
        assert await raw(address, b"GET /readyz HTTP/1.1\r\n\r\n") == b"HTTP/1.1 200 OK"

    async def stalled(address: str) -> None:
        assert await raw(address, b"GET /healthz HTTP/1.1\r\n\r\n") == b"HTTP/1.1 200 OK"
        assert await raw(address, b"GET /readyz HTTP/1.1\r\n\r\n") == b"HTTP/1.1 503 Service Unavailable"

    with_server(well)
    with_server(stalled, ("no-quorum",))


def test_a_node_is_unready_when_blocks_do_not_come_or_it_is_far_behind() -> None:
    assert unready(HEALTHY) == ()
    assert unready(msgspec.structs.replace(HEALTHY, quiet_ms=60_000)) == ("no-progress",)
    assert unready(msgspec.structs.replace(HEALTHY, best_peer_height=HEALTHY.height + 100)) == ("behind",)
