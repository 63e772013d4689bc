"""The signer's side of the protocol in ``node/signer.py``: a line of JSON in, a line of JSON out, until input ends."""

import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from node.secrecy import close_memory

MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""Twice what the longest message takes in hex, and more."""


def serve(public_key: bytes, sign: Callable[[bytes], bytes]) -> None:
    """Answer requests on standard input. What cannot be answered is an error; a line without an end is the last."""
    close_memory()
    while line := sys.stdin.buffer.readline(MAX_LINE_BYTES):
        if not line.endswith(b"\n"):
            return
        sys.stdout.buffer.write(msgspec.json.encode(_answer(line, public_key, sign)) + b"\n")
        sys.stdout.buffer.flush()


def _answer(line: bytes, public_key: bytes, sign: Callable[[bytes], bytes]) -> dict[str, str]:
    try:
        request: Any = msgspec.json.decode(line)
        if request == {"public_key": True}:
            return {"public_key": public_key.hex()}
        if isinstance(request, dict) and list(request) == ["sign"] and isinstance(request["sign"], str):
            return {"signature": sign(bytes.fromhex(request["sign"])).hex()}
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        return {"error": str(error)[:200]}
    return {"error": "not a request: see docs/keys.md"}
