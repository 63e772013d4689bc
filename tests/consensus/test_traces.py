"""Readable scripts: commands, and the trace that they must give. The scripts are ``testdata/*.txt``.

After a change that you understand, write them anew and read the difference:

    WATT_REWRITE_TRACES=1 .venv/bin/python -m pytest tests/consensus/test_traces.py

A line that starts with ``>`` is a command, the lines below it are what happened, ``#`` is a comment.

    > propose NODE NAME         the primary proposes a batch
    > deliver [KIND ...]        deliver all that waits and what comes of it; or only what waits now, of these kinds
    > lose [KIND ...]           from now on lose messages of these kinds (none: lose nothing)
    > tick NODES COUNT [idle]   ticks, all delivered in between; work is pending unless ``idle``; ``all`` or ``1,2``
    > crash NODE / restart NODE
    > chains                    what every node has stored
"""

import os
from pathlib import Path

import pytest

from node.consensus.messages import Message
from tests.consensus.harness import Cluster

SCRIPTS = sorted((Path(__file__).parent / "testdata").glob("*.txt"))
REWRITE = "WATT_REWRITE_TRACES"


class Script:
    """Runs commands on a cluster of four."""

    def __init__(self) -> None:
        self.cluster = Cluster(4)
        self.lost: tuple[str, ...] = ()
        self.cluster.passes = self._passes

    def _passes(self, _sender: int, _to: int, message: Message) -> bool:
        return self.cluster.kind(message) not in self.lost

    def run(self, command: str) -> list[str]:
        """What a command brings about."""
        cluster = self.cluster
        match command.split():
            case ["propose", node, name]:
                cluster.propose(int(node), name)
            case ["deliver"]:
                cluster.deliver()
            case ["deliver", *kinds]:
                cluster.deliver(lambda sender, to, message: cluster.kind(message) in kinds)
            case ["lose", *kinds]:
                self.lost = tuple(kinds)
            case ["tick", nodes, count, *idle]:
                chosen = range(4) if nodes == "all" else [int(node) for node in nodes.split(",")]
                cluster.tick(chosen, count=int(count), pending=not idle)
            case ["crash", node]:
                cluster.crash(int(node))
            case ["restart", node]:
                cluster.restart(int(node))
            case ["chains"]:
                return [f"{node}: {' '.join(cluster.digests(node))}".rstrip() for node in range(4)]
            case _:
                raise ValueError(f"no such command: {command}")
        lines, cluster.trace = cluster.trace, []
        return lines


def replay(text: str) -> str:
    """The script with the trace that its commands give now."""
    script = Script()
    written: list[str] = []
    for line in text.splitlines():
        if line.startswith(">"):
            written.append(line)
            written.extend(script.run(line[1:].strip()))
        elif line.startswith("#") or not line:
            written.append(line)
    return "\n".join(written) + "\n"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_trace(path: Path) -> None:
    """Each script names the checklist's numbers that it shows."""
    expected = path.read_text()
    now = replay(expected)
    if os.environ.get(REWRITE):
        path.write_text(now)
    else:
        assert now == expected


def test_there_are_scripts() -> None:
    assert {path.stem for path in SCRIPTS} >= {"normal_case", "view_change", "null_batch", "restart", "catch_up"}
