"""Cases of signed questions: how a device shows a gateway who asks, and what a gateway refuses."""

from typing import Any, Final

from node.errors import RefusedError
from node.model.codec import encode, sha256
from node.model.keys import SigningKey, verify
from node.model.read import MAX_SKEW_MS, check_read, sign_read
from protos import gateway_pb2 as pb

CALL: Final = "/watt.gateway.v1.Gateway/Query"
NOW_MS: Final = 1_497_571_200_000
REQUEST: Final = pb.QueryRequest(
    contract="budget", method="budget", args=b"\x82\xa6device\xa9home-3/ev\xa6period\xcd\x02\xb4", proven=True
).SerializeToString()


def read_cases(chain: bytes) -> list[dict[str, Any]]:
    """Questions as they are signed, and as they come to a gateway whose clock shows NOW_MS."""
    key, other = SigningKey(sha256(b"device")), SigningKey(sha256(b"another device"))
    found: list[dict[str, Any]] = []

    def add(name: str, why: str, signed: bytes, call: str = CALL, request: bytes = REQUEST) -> None:
        try:
            expect = (
                "ok" if check_read(signed, chain, call, request, NOW_MS, verify) == key.public_key else "another key"
            )
        except RefusedError as error:
            expect = error.code
        come = {"call": call, "request": request.hex(), "now_ms": NOW_MS, "watt-read-bin": signed.hex()}
        found.append({"name": name, "why": why, "seed": key.seed.hex(), "chain": chain.hex(), **come, "expect": expect})

    good = sign_read(key, chain, CALL, REQUEST, NOW_MS)
    signature = good[-64:]
    add("a balance, with its proof", "signed as the page says", good)
    for away_ms in (MAX_SKEW_MS, -MAX_SKEW_MS):
        add("a clock at the edge", "300 s are allowed", sign_read(key, chain, CALL, REQUEST, NOW_MS + away_ms))
        late = sign_read(key, chain, CALL, REQUEST, NOW_MS + away_ms + away_ms // MAX_SKEW_MS)
        add("a clock beyond it", "300 s are allowed, and no millisecond more", late)
    add("another question", "the signature covers the request's digest", good, request=REQUEST[:-1] + b"\0")
    add("another call", "the signature covers the call's name", good, call=CALL.replace("Query", "Nonce"))
    add("another chain", "the signature covers the chain", sign_read(key, sha256(b"other"), CALL, REQUEST, NOW_MS))
    add("another time", "the signature covers the time", encode((key.public_key, NOW_MS + 1, signature)))
    add("another key", "its holder has not signed", encode((other.public_key, NOW_MS, signature)))
    add("two fields", "there are three", encode((key.public_key, NOW_MS)))
    add("the time as text", "it is an integer", encode((key.public_key, str(NOW_MS), signature)))
    add(
        "the time in nine bytes",
        "not the shortest form",
        good.replace(encode(NOW_MS), b"\xd3" + NOW_MS.to_bytes(8, "big")),
    )
    return found
