"""How a refusal travels: a gRPC status, and our stable code in the trailing metadata. Both directions."""

from typing import Final, NoReturn

import grpc
import grpc.aio

from node.errors import RefusedError

CODE_KEY: Final = "watt-code"
RETRY_KEY: Final = "watt-retry-ms"
UNREACHABLE: Final = "unreachable"
UNTRUSTED: Final = "untrusted-node"

RETRY_MS: Final = {
    "mempool-full": 250,
    "busy": 100,
    "too-fast": 100,
    "too-many-connections": 1000,
    "too-many-subscribers": 1000,
    "too-many-waiters": 1000,
}
"""Codes that mean "not now", and how long to wait before the next attempt if the refusal does not say itself."""

_STATUS: Final = {
    "bad-signature": grpc.StatusCode.UNAUTHENTICATED,
    "bad-read-signature": grpc.StatusCode.UNAUTHENTICATED,
    "stale-read": grpc.StatusCode.UNAUTHENTICATED,
    "sign-first": grpc.StatusCode.UNAUTHENTICATED,
    "not-allowed": grpc.StatusCode.PERMISSION_DENIED,
    "wrong-chain": grpc.StatusCode.FAILED_PRECONDITION,
    "expired": grpc.StatusCode.FAILED_PRECONDITION,
    "nonce-used": grpc.StatusCode.FAILED_PRECONDITION,
    "nonce-out-of-window": grpc.StatusCode.FAILED_PRECONDITION,
    "duplicate": grpc.StatusCode.ALREADY_EXISTS,
    "unknown-contract": grpc.StatusCode.NOT_FOUND,
    "unknown-method": grpc.StatusCode.NOT_FOUND,
    "no-block": grpc.StatusCode.NOT_FOUND,
    "below-base": grpc.StatusCode.NOT_FOUND,
    "no-snapshot": grpc.StatusCode.NOT_FOUND,
    "erased": grpc.StatusCode.FAILED_PRECONDITION,
    "slow-subscriber": grpc.StatusCode.ABORTED,
    "slow-request": grpc.StatusCode.ABORTED,
    "stopping": grpc.StatusCode.UNAVAILABLE,
    "internal": grpc.StatusCode.INTERNAL,
}

_FROM_STATUS: Final = {
    grpc.StatusCode.UNAVAILABLE: UNREACHABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: UNREACHABLE,
    grpc.StatusCode.CANCELLED: UNREACHABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: "busy",  # gRPC itself: too many calls at once
    grpc.StatusCode.UNIMPLEMENTED: "unknown-call",
}
"""What a status without our code means: gRPC, or something on the way, answered instead of a node."""

_DISTRUSTED: Final = {
    "certificate has expired": "shows a certificate that has expired",
    "certificate is not yet valid": "shows a certificate that is not valid yet; is the clock right?",
    "is not in peer certificate": "shows a certificate for another address",
    "CERTIFICATE_VERIFY_FAILED": "shows a certificate that nobody vouches for whom you trust",
    "certificate signature failure": "shows a certificate that nobody vouches for whom you trust",
    "WRONG_VERSION_NUMBER": "speaks no TLS",
}
"""Words of gRPC about a server that does not prove to be a node of ours, and what people read instead."""


def status_of(code: str) -> grpc.StatusCode:
    """The gRPC status that a code travels under."""
    if code in RETRY_MS:
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    return _STATUS.get(code, grpc.StatusCode.INVALID_ARGUMENT)


async def abort(context: "grpc.aio.ServicerContext[object, object]", error: RefusedError) -> NoReturn:
    """End the call with a refusal."""
    metadata: tuple[tuple[str, str], ...] = ((CODE_KEY, error.code),)
    if error.code in RETRY_MS:
        metadata += ((RETRY_KEY, str(retry_ms(error))),)
    await context.abort(status_of(error.code), error.message, metadata)


class NotNowError(RefusedError):
    """Refused for want of room; ``retry_ms``: how long to wait before the next attempt."""

    def __init__(self, code: str, message: str, retry_ms: int) -> None:
        super().__init__(code, message)
        self.retry_ms = retry_ms


def retry_ms(error: RefusedError) -> int:
    """How long a client is told to wait; 0 if it need not come again."""
    return error.retry_ms if isinstance(error, NotNowError) else RETRY_MS.get(error.code, 0)


def error_from(failure: grpc.aio.AioRpcError) -> RefusedError:
    """The refusal that a failed call stands for; code "unreachable" if no node answered it,
    "untrusted-node" if what answered does not prove to be one."""
    metadata = {str(key): value for key, value in failure.trailing_metadata() or ()}
    code = metadata.get(CODE_KEY)
    message = failure.details() or failure.code().name
    if code is None and "larger than max" in message:
        return RefusedError("oversize", message)
    if code is None:
        for words, what in _DISTRUSTED.items():
            if failure.code() == grpc.StatusCode.UNAVAILABLE and words in message:
                return RefusedError(UNTRUSTED, what)
        return RefusedError(_FROM_STATUS.get(failure.code(), "internal"), message)
    retry = str(metadata.get(RETRY_KEY, ""))
    if retry.isascii() and retry.isdecimal() and len(retry) <= 6:  # whoever answered need not be a node of ours
        return NotNowError(str(code), message, max(1, int(retry)))
    return RefusedError(str(code), message)
