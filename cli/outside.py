"""What can be seen of a node from elsewhere, through its gateway: less than on its own machine."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from cli.session import ask
from node.consensus.quorum import quorum
from node.diagnosis import BUSY_QUIET_MS, NOTE, PROBLEM, STALLED, Finding, seconds
from node.gateway.client import Client, NodeInfo

LOOK_AGAIN_S: Final = BUSY_QUIET_MS / 1000


def look(nodes: Sequence[str]) -> tuple[NodeInfo, list[Finding]]:
    """Ask the first of the gateways that answers; a second time if it has work, to see whether it goes on.

    Raises RefusedError("unreachable").
    """
    return ask(nodes, _look)


async def _look(client: Client) -> tuple[NodeInfo, list[Finding]]:
    first = last = await client.node_info()
    if first.pending:
        await asyncio.sleep(LOOK_AGAIN_S)
        last = await client.node_info()
    return last, list(findings_of(first, last))


def findings_of(first: NodeInfo, last: NodeInfo) -> Iterator[Finding]:
    """What two looks show, BUSY_QUIET_MS apart if there was work; the gravest first."""
    reached, needed = len(last.connected) + 1, quorum(last.members)
    others = ", ".join(last.connected) or "nobody"
    text = f"it reaches {reached} of {last.members} members, itself included: {others}; a quorum is {needed}"
    if reached < needed:
        yield Finding(STALLED, "no-quorum", text)
    if first.pending and last.pending and last.height == first.height:
        stuck = f"no block after {last.height} within {seconds(BUSY_QUIET_MS)}, and {last.pending} transactions wait"
        yield Finding(STALLED, "no-progress", stuck)
    if needed <= reached < last.members:
        yield Finding(PROBLEM, "link-down", text)
    if last.upgrade_missing:
        yield Finding(
            PROBLEM, "upgrade-missing", f"an upgrade is scheduled that it has not got: {last.upgrade_missing}"
        )
    if last.member_index < 0:
        yield Finding(
            NOTE, "passive", f"{last.member} is no member in epoch {last.epoch}: it follows and does not vote"
        )
