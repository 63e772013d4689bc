"""A member that votes twice, over its real link and with its real key: the nodes that hear it keep the proof."""

import asyncio
import json
from pathlib import Path

from click.testing import CliRunner

from cli.main import main
from node.consensus.messages import Signed
from node.consensus.statements import Commit, Prepare, encode_statement
from node.keyfile import load_key
from node.parts import EVIDENCE_NAME
from node.transport.wire import encode_message
from testnet.cluster import Cluster
from testnet.genesis import GENESIS_NAME, PASSPHRASE_NAME, NetworkNode, load_network
from tests.functional.test_bad_wire import hello, link_as_member
from tests.functional.worst_day import info_of, until


def votes(cluster: Cluster, to: NetworkNode) -> list[bytes]:
    """Frames with two prepares and two commits of the member whose node is down, for other things at one height."""
    liar, info = load_network(cluster.network.directory).nodes[3], info_of(to)
    key = load_key(liar.directory / "node.key.json", (liar.directory / PASSPHRASE_NAME).read_text().strip())
    frames = []
    for kind in (Prepare, Commit):
        for number in range(2):
            data = encode_statement(kind(info.view, info.height + 9, bytes([number]) * 32), info.chain, 0)
            frames.append(encode_message(Signed(3, data, key.sign(data))))
    return frames


def kept(node: NetworkNode) -> list[Path]:
    return sorted((node.directory / "data" / EVIDENCE_NAME).glob("*.json"))


def test_a_member_that_votes_twice_is_proven_to_have(network: Cluster, tmp_path: Path) -> None:
    """Checklist 5 (process): a portable evidence file is stored; it is checked elsewhere, with the genesis alone."""
    node = network.network.nodes[0]
    frames = votes(network, node)

    async def lie() -> None:
        async with link_as_member(network, node) as call:
            await call.write(hello(network))
            for frame in frames:
                await call.write(frame)
            await asyncio.sleep(1)

    asyncio.run(lie())
    until(lambda: bool(kept(node)), "no evidence is kept")
    (path,) = kept(node)  # one of a kind at a time is enough
    assert path.name.startswith("two-votes_node-3_")
    carried = tmp_path / "evidence.json"
    carried.write_bytes(path.read_bytes())
    genesis = network.network.directory / GENESIS_NAME
    told = CliRunner().invoke(main, ["node", "verify", "--evidence", str(carried), "--genesis", str(genesis), "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert (found["kind"], found["name"]) == ("two-votes", "node-3")
    assert "signed two different prepare votes" in found["what"]
    assert f"evidence kind=two-votes member=node-3 file={path}" in (node.directory / "node.log").read_text()
    height = info_of(node).height
    until(lambda: info_of(node).height > height, "the network stands still")
