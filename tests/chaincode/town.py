"""A town of validators and their admins, for tests of governance."""

import ssl
from typing import Any, cast

from chaincode.governance import NOTICE, Governance
from chaincode.validators import EpochRow, epoch_count, epoch_row
from node.model.codec import sha256
from tests.chaincode.world import World

NAMES = ("ada", "bob", "cyd", "dan")
POOL = (*NAMES, "eve", "fay", "gus")


def key(what: str) -> bytes:
    return sha256(what.encode())


def admin(name: str) -> bytes:
    return key(f"admin of {name}")


def pem(what: str) -> str:
    """Text in the form of a certificate; nobody looks into it in these tests."""
    body = what.encode().ljust(300, b".")
    return ssl.DER_cert_to_PEM_cert(b"\x30\x82" + len(body).to_bytes(2, "big") + body)


def joining(name: str) -> dict[str, Any]:
    return {
        "public_key": key(name),
        "tls_certificate": pem(name).encode(),
        "admin_key": admin(name),
        "address": f"{name}.example:7501",
    }


def rotated(what: str) -> dict[str, Any]:
    return {"public_key": key(what), "tls_certificate": pem(what).encode()}


class Town(World):
    """A world whose blocks are empty, and the names of its validators."""

    def __init__(self, names: tuple[str, ...] = NAMES) -> None:
        validators = tuple((name, key(name).hex(), pem(name)) for name in names)
        admins = tuple((name, admin(name).hex()) for name in names)
        super().__init__([Governance()], {"governance": {"validators": validators, "admins": admins}})

    def propose(self, who: str, kind: str, name: str, at: int | None = None, **rest: Any) -> tuple[int, bytes, int]:
        first = self.height + NOTICE if at is None else at
        answer = self.call(admin(who), "governance", "propose", kind=kind, name=name, first_height=first, **rest)
        return cast("tuple[int, bytes, int]", answer)

    def approve(self, who: str, number: int, digest: bytes) -> int:
        return cast("int", self.call(admin(who), "governance", "approve", proposal=number, digest=digest))

    def decide(self, kind: str, name: str, *who: str, at: int | None = None, **rest: Any) -> int:
        """Propose and approve by ``who``; returns how many approvals are missing then."""
        number, digest, missing = self.propose(who[0], kind, name, at, **rest)
        for other in who[1:]:
            missing = self.approve(other, number, digest)
        return missing

    def at(self, height: int) -> None:
        self.height = height

    def epochs(self) -> list[EpochRow]:
        return [epoch_row(self.state.get, number) for number in range(epoch_count(self.state.get))]

    def names(self) -> list[str]:
        """The validators of the newest epoch."""
        return [seat.name for seat in self.epochs()[-1].seats]
