"""The validators of every epoch: how they are kept in the state, and what a set of them has to fulfil.

An *epoch* is a number, the height from which on it is in force, and its *seats* in order. Epochs are kept for ever,
so that whoever reads the state knows who certified each block. ``governance.py`` decides about them; the node's ledger
reads them here, through whatever gives it the value of a key.

State: ``gov-epoch/`` -> count; ``gov-epoch/`` number(8) -> (first height, numbers of seats); ``gov-seat/`` -> count;
``gov-seat/`` number(8) -> Seat.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias, cast

from chaincode.contract import Context, ContractError, Value
from chaincode.keys import key
from chaincode.roles import KEY_BYTES, check_id, check_key

MIN_VALIDATORS: Final = 4
MAX_VALIDATORS: Final = 40
MAX_CERTIFICATE: Final = 4096
"""A TLS certificate in PEM, in bytes."""
MAX_ADDRESS: Final = 255

_EPOCHS: Final = b"gov-epoch/"
_SEATS: Final = b"gov-seat/"
_PEM_FIRST: Final = "-----BEGIN CERTIFICATE-----\n"
_PEM_LAST: Final = "-----END CERTIFICATE-----\n"
_PEM_LINE: Final = 64
_BASE64: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

Get: TypeAlias = Callable[[bytes], Value]
"""The value of a state key, or None."""


class Seat(NamedTuple):
    """A validator. ``public_key``: its node's, Ed25519; ``tls_certificate``: PEM; ``admin_key``: that decides for it;
    ``address``: where its node listens for others, HOST:PORT, or "" if only configurations say so."""

    name: str
    public_key: bytes
    tls_certificate: str
    admin_key: bytes
    address: str


class EpochRow(NamedTuple):
    """``first_height``: of the epoch's first block; the seats are in the order of the members' indices."""

    number: int
    first_height: int
    seats: tuple[Seat, ...]


def epoch_count(get: Get) -> int:
    """How many epochs the state knows, the scheduled one included; 0 if nobody can ever change the membership."""
    return cast("int | None", get(_EPOCHS)) or 0


def epoch_head(get: Get, number: int) -> tuple[int, tuple[int, ...]]:
    """The first height of epoch ``number``, which there is, and the numbers of its seats."""
    return cast("tuple[int, tuple[int, ...]]", get(key(_EPOCHS, number)))


def epoch_row(get: Get, number: int) -> EpochRow:
    """The epoch ``number``, which there is."""
    first_height, seats = epoch_head(get, number)
    rows = [cast("tuple[str, bytes, str, bytes, str]", get(key(_SEATS, seat))) for seat in seats]
    return EpochRow(number, first_height, tuple([Seat(*row) for row in rows]))


def newest_epoch(ctx: Context) -> EpochRow:
    """The epoch with the highest number: in force, or scheduled. Raises ContractError("no-governance")."""
    count = epoch_count(ctx.get)
    if not count:
        raise ContractError("no-governance", "the genesis names no admins of validators: nobody changes the membership")
    return epoch_row(ctx.get, count - 1)


def epoch_in_force(ctx: Context) -> EpochRow:
    """The epoch that the block under way belongs to. Raises ContractError("no-governance")."""
    newest = newest_epoch(ctx)
    return newest if newest.first_height <= ctx.height or not newest.number else epoch_row(ctx.get, newest.number - 1)


def add_epoch(ctx: Context, first_height: int, seats: tuple[Seat, ...]) -> EpochRow:
    """Append an epoch to the record. A seat that the epoch before has, too, is kept once."""
    number = epoch_count(ctx.get)
    known: dict[Seat, int] = {}
    if number:
        _, before = epoch_head(ctx.get, number - 1)
        known = dict(zip(epoch_row(ctx.get, number - 1).seats, before, strict=True))
    count = cast("int | None", ctx.get(_SEATS)) or 0
    numbers = []
    for seat in seats:
        if seat not in known:
            ctx.put(key(_SEATS, count), tuple(seat))
            known[seat] = count
            count += 1
        numbers.append(known[seat])
    ctx.put(_SEATS, count)
    ctx.put(key(_EPOCHS, number), (first_height, tuple(numbers)))
    ctx.put(_EPOCHS, number + 1)
    return EpochRow(number, first_height, seats)


def check_set(seats: tuple[Seat, ...]) -> None:
    """Whether these could be the validators of an epoch.

    Raises ContractError: too-few, too-many, duplicate-name, duplicate-key, duplicate-certificate.
    """
    if len(seats) < MIN_VALIDATORS:
        raise ContractError("too-few", f"{len(seats)} validators, there are never fewer than {MIN_VALIDATORS}")
    if len(seats) > MAX_VALIDATORS:
        raise ContractError("too-many", f"{len(seats)} validators, there are never more than {MAX_VALIDATORS}")
    if len({seat.name for seat in seats}) != len(seats):
        raise ContractError("duplicate-name", "there is a validator with this name")
    if len({seat.public_key for seat in seats}) != len(seats):
        raise ContractError("duplicate-key", "this is the key of another validator")
    if len({seat.tls_certificate for seat in seats}) != len(seats):
        raise ContractError("duplicate-certificate", "this is the certificate of another validator")


def check_seat(seat: Seat) -> None:
    """Whether a seat is well-formed. Raises ContractError: bad-id, bad-key, bad-certificate, bad-address."""
    check_name(seat.name)
    check_key(seat.public_key)
    check_key(seat.admin_key)
    _check_certificate(seat.tls_certificate)
    if seat.address:
        _check_address(seat.address)


def check_name(name: str) -> None:
    """A validator's name is an id that can name a directory, too. Raises ContractError("bad-id")."""
    check_id(name)
    if "/" in name:
        raise ContractError("bad-id", f"{name!r}: there is no / in a validator's name")


def pem_text(data: bytes) -> str:
    """The text of a certificate that arrived as bytes. Raises ContractError("bad-certificate")."""
    if len(data) > MAX_CERTIFICATE or not all(byte < 128 for byte in data):
        raise ContractError("bad-certificate", f"a TLS certificate is PEM text of at most {MAX_CERTIFICATE} bytes")
    return data.decode()


def hex_key(value: Value) -> bytes:
    """A key as settings have it. Raises ContractError("bad-settings")."""
    if type(value) is str and len(value) == 2 * KEY_BYTES and all(digit in "0123456789abcdef" for digit in value):
        return bytes.fromhex(value)
    raise ContractError("bad-settings", f"a key is {2 * KEY_BYTES} hex digits, not another value")


def _check_certificate(certificate: str) -> None:
    """One certificate in PEM, by its form: what is in it, those who approve look at, with their tools.

    There is one text for it: lines of 64, the last one shorter at most. So certificates differ if their texts do.
    """
    lines = certificate[len(_PEM_FIRST) : -len(_PEM_LAST)].split("\n")
    letters = "".join(lines)
    canonical = "".join([letters[at : at + _PEM_LINE] + "\n" for at in range(0, len(letters), _PEM_LINE)])
    if certificate != _PEM_FIRST + canonical + _PEM_LAST or not _is_der_sequence(letters):
        raise ContractError("bad-certificate", "not one certificate in PEM")


def _is_der_sequence(letters: str) -> bool:
    """Whether these are the canonical Base64 of one ASN.1 sequence of 256 to 65,535 bytes, as every certificate is."""
    digits = letters.rstrip("=")
    padding = len(letters) - len(digits)
    if len(letters) % 4 or padding > 2 or not all(digit in _BASE64 for digit in digits):
        return False
    length = len(letters) // 4 * 3 - padding
    if length < 4 + 256 or _BASE64.index(digits[-1]) % (1 << 2 * padding):
        return False
    first = 0
    for digit in digits[:8]:
        first = first * 64 + _BASE64.index(digit)
    return first >> 32 == 0x3082 and (first >> 16) % (1 << 16) == length - 4


def _check_address(address: str) -> None:
    host, _, port = address.rpartition(":")
    printable = len(address) <= MAX_ADDRESS and all("!" <= letter <= "~" for letter in address)
    digits = 0 < len(port) <= 5 and all("0" <= digit <= "9" for digit in port)
    if not printable or not host or not digits or not 0 < int(port) < 1 << 16:
        raise ContractError("bad-address", f"{address[:60]!r} is not HOST:PORT")
