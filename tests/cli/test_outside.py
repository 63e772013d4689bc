"""What a gateway shows of a node's health."""

from dataclasses import replace

import pytest

from cli.outside import findings_of
from node.gateway.client import NodeInfo

HEALTHY = NodeInfo(
    version="1",
    chain=bytes(32),
    network="street",
    member="north",
    member_index=0,
    members=4,
    height=12,
    head_hash=bytes(32),
    state_root=bytes(32),
    head_time=100,
    now=101,
    epoch=0,
    view=0,
    primary=0,
    pending=0,
    connected=("south", "west", "east"),
    token_symbol="WATT",
    token_decimals=9,
)


@pytest.mark.parametrize(
    ("first", "last", "codes"),
    [
        ({}, {}, []),
        ({"pending": 5}, {"pending": 5, "height": 13}, []),
        ({"pending": 5}, {"pending": 0}, []),
        ({"pending": 5}, {"pending": 5}, ["no-progress"]),
        ({}, {"connected": ("south", "west")}, ["link-down"]),
        ({}, {"connected": ("south",)}, ["no-quorum"]),
        ({"pending": 1}, {"pending": 1, "connected": ()}, ["no-quorum", "no-progress"]),
        ({}, {"member_index": -1}, ["passive"]),
        ({}, {"upgrade_missing": "rates"}, ["upgrade-missing"]),
    ],
)
def test_what_two_looks_show(first: dict[str, object], last: dict[str, object], codes: list[str]) -> None:
    looks = (replace(HEALTHY, **first), replace(HEALTHY, **last))  # type: ignore[arg-type]
    assert [finding.code for finding in findings_of(*looks)] == codes
