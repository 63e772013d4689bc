"""The command of a plug: run once at a time, again when it fails or hangs, ended with all that it started; and what a
follower of the ledger does when nodes are gone, behind, or silent."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from chaincode.contract import Event
from cli import plug
from cli.main import main
from cli.plug import Done, Follower, Plug, Switch
from cli.wallet_watch import print_done
from node.errors import RefusedError
from node.gateway.client import BlockEvents, Client

SWITCH = Switch("curtail", "home-1/ev", 3, 17, 5_400)
NOWHERE = ["--node", "127.0.0.1:1"]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plug, "PAUSES_S", (0.01, 0.02))
    monkeypatch.setattr(plug, "GRACE_S", 0.5)


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def applied(command: list[str], timeout_s: float = 10) -> tuple[Done, list[str]]:
    told: list[str] = []
    return asyncio.run(Plug(command, timeout_s, told.append).apply(SWITCH)), told


def test_the_event_is_in_the_environment(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = script(tmp_path / "plug", f'env | grep ^WATT_ | sort > "{out}"; echo "$1 $2" >> "{out}"')
    assert applied([command, "a b", "$HOME"]) == (Done(SWITCH, 1, ""), [])
    rows = out.read_text().splitlines()
    assert set(rows) >= {
        "WATT_DEVICE=home-1/ev", "WATT_EVENT=curtail", "WATT_HEIGHT=17", "WATT_PERIOD=3", "WATT_TIME=5400",
    }  # fmt: skip
    assert rows[-1] == "a b $HOME", "no shell reads the words again"


def test_a_command_that_fails_is_run_again_and_given_up(tmp_path: Path) -> None:
    count = tmp_path / "count"
    flaky = script(tmp_path / "flaky", f'echo x >> "{count}"; [ $(wc -l < "{count}") -ge 2 ]')
    done, told = applied([flaky])
    assert (done.tries, done.fault) == (2, "")
    assert told == ["curtail of block 17: the command ended with 1 (try 1 of 3)"]
    done, told = applied([script(tmp_path / "broken", "exit 7")])
    assert (done.tries, done.fault, len(told)) == (plug.TRIES, "the command ended with 7", plug.TRIES)
    done, _ = applied([str(tmp_path / "gone")])
    assert done.fault == "the command cannot be run: No such file or directory"


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hangs = script(
        tmp_path / "hangs", f'trap "" TERM; sleep 60 & echo $! >> "{pids}"; echo $$ >> "{pids}"; wait; sleep 60'
    )
    done, told = applied([hangs], timeout_s=0.3)
    assert done.fault == "the command did not end within 0.3 s" and len(told) == plug.TRIES
    for pid in pids.read_text().split():
        assert not _runs(int(pid)), "left behind"


def _runs(pid: int) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True


class Nodes:
    """Gateways that play a given part: a client's calls, and what they answer one after the other.

    ``heads``: what ``overview.device`` answers: (height, whether it is cut off); ``streams``: blocks, or an error, for
    each subscription.
    """

    def __init__(self, heads: list[tuple[int, bool]], streams: list[list[BlockEvents | RefusedError]]) -> None:
        self.heads = heads
        self.streams = streams
        self.asked: list[int] = []
        self.turned = 0

    async def query(self, contract: str, method: str, args: Mapping[str, Any]) -> Any:
        height, is_cut = self.heads.pop(0)
        cut = (3, 60 * height, height, b"t") if is_cut else None
        return height, 60 * height, "home-1", 3, "limited" if is_cut else "active", None, 0, 0, 0, 0, cut

    async def subscribe(self, first: int) -> AsyncIterator[BlockEvents]:
        self.asked.append(first)
        for each in self.streams.pop(0):
            if isinstance(each, RefusedError):
                raise each
            yield each
        await asyncio.sleep(10)

    def turn_away(self) -> None:
        self.turned += 1


def block(height: int, *topics: str, device: str = "home-1/ev") -> BlockEvents:
    events = tuple(Event("budget", topic, (device, "home-1"), 3) for topic in topics)
    return BlockEvents(height, 60 * height, bytes(32), (), events)


def followed(nodes: Nodes, blocks: int) -> tuple[list[tuple[str, int]], list[str]]:
    """(event, height) of what was applied, and what was told."""
    seen: list[tuple[str, int]] = []
    told: list[str] = []

    async def apply(switch: Switch) -> None:
        seen.append((switch.event, switch.height))

    client = cast("Client", nodes)
    asyncio.run(Follower(client, 2, "home-1/ev", apply, told.append).run(blocks))
    return seen, told


def test_the_present_state_first_then_every_event_once() -> None:
    lost = RefusedError("unreachable", "nobody answers")
    nodes = Nodes(
        [(10, True)],
        [[block(11), block(12, "restore", "curtail"), lost], [lost], [block(13, "restore"), block(14, "budget-state")]],
    )
    seen, told = followed(nodes, 4)
    assert seen == [("curtail", 10), ("restore", 12), ("curtail", 12), ("restore", 13)]
    assert nodes.asked == [11, 13, 13], "from the block after the last seen"
    assert told == ["unreachable: nobody answers; trying again"]


def test_a_node_that_is_behind_is_not_believed() -> None:
    behind = RefusedError("no-block", "no block 12")
    nodes = Nodes([(10, False)], [[block(11, "curtail"), behind], [behind], [block(12)]])
    assert followed(nodes, 2)[0] == [("restore", 10), ("curtail", 11)]
    assert nodes.turned == 2


def test_blocks_that_nobody_has_any_more() -> None:
    """Both gateways began later: the present state is applied if it is another one, and not one that is older."""
    gone = RefusedError("below-base", "it began later")
    nodes = Nodes(
        [(10, False), (9, True), (50, False), (90, True)],
        [[block(11), gone], [gone], [block(51), gone], [gone], [block(91)]],
    )
    assert followed(nodes, 3)[0] == [("restore", 10), ("curtail", 90)]
    assert nodes.asked == [11, 12, 51, 52, 91]


def test_a_silent_node_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plug, "QUIET_S", 0.1)
    nodes = Nodes([(10, False)], [[], [block(11, "curtail")]])
    assert followed(nodes, 1)[0] == [("restore", 10), ("curtail", 11)]
    assert (nodes.asked, nodes.turned) == ([11, 11], 1)


@pytest.mark.parametrize("answer", [RefusedError("unknown-device", "no such"), RefusedError("bad-answer", "other")])
def test_what_does_not_pass_by_waiting_ends_it(answer: RefusedError) -> None:
    class Refusing(Nodes):
        async def query(self, contract: str, method: str, args: Mapping[str, Any]) -> Any:
            raise answer

    with pytest.raises(RefusedError, match=answer.code):
        followed(Refusing([], []), 1)


@pytest.mark.parametrize(
    "words",
    [
        ["--exec", "true"], ["--device", "home-1/ev"], ["home-1", "--device", "home-1/ev", "--exec", "true"],
        ["--device", "d", "--exec", "true", "--from-height", "3"], ["--device", "d", "--exec", "'"],
        ["--device", "d", "--exec", " "], ["--device", "d", "--exec", "true", "--timeout", "0"],
    ],
)  # fmt: skip
def test_wrong_usage(words: list[str]) -> None:
    assert CliRunner().invoke(main, ["wallet", "watch", *words, *NOWHERE]).exit_code == 2


def test_a_command_that_does_not_exist() -> None:
    result = CliRunner().invoke(main, ["wallet", "watch", "--device", "d", "--exec", "no/such/plug on", *NOWHERE])
    assert result.exit_code == 1 and result.stderr.startswith("watt: no-command: no/such/plug")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_no_node_answers(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "cli.main", "wallet", "watch", "--device", "d", "--exec", "true", *NOWHERE]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first.startswith("watt: unreachable: ") and first.endswith("; trying again\n")
        process.send_signal(number)
        _, rest = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, rest) == (0, "stopped\n")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_plug_is_followed_when_nobody_reads_what_is_printed(as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    told: list[str] = []
    with os.fdopen(writes, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        for _ in range(3):
            print_done(Done(SWITCH, 1, ""), as_json, told.append)
    assert len(told) == 1 and "nobody reads" in told[0]
