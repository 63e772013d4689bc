"""`watt admin add-entropy`: what the names hang on under which devices trade in public."""

import secrets
from typing import Any

import click

from chaincode.pseudonyms import ENTROPY_BYTES
from cli.session import Signing, done, signed, transact
from node.gateway.client import Client


@click.command()
@signed
def add_entropy(signing: Signing, as_json: bool) -> None:
    """Throw 32 random bytes into the secret that pseudonyms are made of. A member's key signs, or an admin's of a
    validator.

    One member whom nobody has seen through is enough, so every member should do it, and again now and then: it counts
    from the first billing period on that has no order yet. As long as nobody has, public events name nobody at all.

    Example: watt admin add-entropy --key member.key
    """

    async def args(_: Client) -> dict[str, Any]:
        return {"entropy": secrets.token_bytes(ENTROPY_BYTES)}

    done(transact(*signing, "privacy", "add_entropy", args), as_json)
