"""A whole month's bill: how long it takes to put together, plainly and proven, and how much is asked for it.

Homes with a load, a PV panel, a battery and an electric car each trade in nearly every half hour of a billing period
of thirty days, and meter it; in one process, on a real ledger. The bill of one of them is read as the period ends,
when seven days of its slots may still be corrected, and when all of it is final.
"""

import asyncio
import time
from typing import Final, NamedTuple, cast

import click

from bench.counted_node import CountedNode
from bench.homes import SLOT_S
from bench.local_chain import LocalChain
from bench.month import FINAL_S, Month
from chaincode.registry import default_registry
from cli.answers import Reader
from cli.output import json_option, print_json, print_table
from cli.statement import Statement, make_statement
from cli.statement_facts import gather_facts
from cli.statement_files import statement_csv
from cli.statement_words import Token
from node.gateway.client import Client
from node.gateway.proven import ProvenReader

HOME: Final = "home-0"


class Figures(NamedTuple):
    """What one bill took: ``queries``; state ``entries`` proven in answers; ``bytes`` of these, proofs included, and
    of the ``largest``; seconds of the node's time, of its slowest answer, and of everything together, the node's
    included.
    """

    read: str
    slots_final: int
    items: int
    queries: int
    entries: int
    bytes: int
    largest: int
    node_s: float
    slowest_query_s: float
    all_s: float


@click.command()
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 31), help="Days of the billing period.")
@click.option("--homes", default=4, show_default=True, type=click.IntRange(2, 100), help="Homes, four devices each.")
@json_option
def statement(days: int, homes: int, as_json: bool) -> None:
    """Measure what a home's bill of a month takes, plainly and proven, as the month ends and when it is final.

    Example: watt bench statement --days 30 --homes 4
    """
    chain = Month(homes, days)
    last = chain.live()
    rows = []
    for ends in (last * SLOT_S + 7_200, last * SLOT_S + FINAL_S):
        chain.go_to(ends)
        rows += [_measured(chain, proven=False), _measured(chain, proven=True)]
    if as_json:
        return print_json([row._asdict() for row in rows])
    print_table(f"The bill of {HOME}, {days} days", tuple(f">{name}" for name in Figures._fields), rows)


def _measured(chain: LocalChain, *, proven: bool) -> Figures:
    node = CountedNode(chain)
    read: Reader = node.query
    if proven:
        read = ProvenReader(cast("Client", node), chain.genesis, default_registry())
    began = time.process_time()
    made: Statement = make_statement(asyncio.run(gather_facts(read, HOME, 0)))
    took = time.process_time() - began
    items = statement_csv(made, Token("WATT", 9)).count("\n") - 1
    how = "proven" if proven else "plain"
    seconds = (round(node.all_s, 2), round(node.slowest_s, 3), round(took, 2))
    asked = (node.queries, node.entries, node.bytes, node.largest)
    return Figures(how, made.final, items, *asked, *seconds)
