"""The exchange as a study sees it: the same calls whether the contracts run in this process or on nodes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from chaincode.contract import Event, Value


class Call(NamedTuple):
    """A transaction by the holder of ``key``, a public key."""

    key: bytes
    contract: str
    method: str
    args: Mapping[str, Any]


class Answer(NamedTuple):
    """What became of a call: "ok" and what it returned, or the code of its refusal."""

    code: str
    result: Value


class Exchange(Protocol):
    """Block time goes on by ``advance`` alone."""

    @property
    def now(self) -> int:
        """Block time, s."""
        ...

    def submit(self, calls: Sequence[Call]) -> list[Answer]:
        """Have all calls done now, in blocks; an answer for each. A caller's own are done in the order given."""
        ...

    def advance(self, time: int) -> list[Event]:
        """Let block time reach ``time``; every event since the last call of this, in order, those of ``submit`` too."""
        ...

    def query(self, contract: str, method: str, args: Mapping[str, Any]) -> Value:
        """The answer of the state after the last block. Raises ContractError or RefusedError."""
        ...
