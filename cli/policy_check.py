"""What the ledger knows of the networks, devices and agreements that files of policies name; and what would change."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

from chaincode.budget_policy import SELL, Donor, Policy, Row
from cli.answers import HIDDEN, Reader, as_rows
from cli.policy_file import DEVICE_KEYS, NETWORK_KEYS, PolicyFile, Problem, meant, shown_term
from node.errors import RefusedError

SALE: Final = "sale"
OPEN: Final = "open"
_GIVER, _KIND, _AUTOMATIC, _STATE = 1, 3, 5, 11


class Change(NamedTuple):
    """A term that would be another one. ``device``: whose, "" for the network's own; ``before`` and ``after`` as they
    stand in a file.
    """

    device: str
    term: str
    before: str
    after: str


async def policy_on_chain(read: Reader, network: str, slot: int | None = None) -> tuple[Policy, tuple[Row, ...]]:
    """The policy of ``network``, or that of then. Raises RefusedError("unknown-network")."""
    when = {} if slot is None else {"slot": slot}
    answer = await read("budget", "policy", {"network": network, **when})
    terms, rows = cast("tuple[tuple[Any, ...], tuple[Any, ...]]", as_rows(answer))
    return Policy(*terms), tuple([tuple(row) for row in rows])


async def problems_on_chain(read: Reader, files: Sequence[PolicyFile]) -> list[Problem]:
    """What the ledger would refuse of ``files`` that are well in themselves. The codes: network-in-two-files,
    device-in-two-files, unknown-network, unknown-device, other-network, unknown-agreement, wrong-kind,
    agreement-not-open.
    """
    problems = list(_named_twice(files))
    for file in files:
        try:
            own = as_rows(await read("identity", "devices", {"network": file.network}))
        except RefusedError as error:
            if error.code in HIDDEN:
                text = f"there is no network {file.network}, or this key may not read it"
            elif error.code == "unknown-network":
                known = cast("Iterable[str]", as_rows(await read("identity", "networks", {})))
                text = f"there is no network {file.network}{meant(file.network, known)}"
            else:
                raise
            problems.append(file.problem(("network",), error.code, text))
        else:
            problems += await _of_devices(read, file, cast("Sequence[str]", own))
        problems += await _of_agreement(read, file)
    return problems


def changes(before: tuple[Policy, Sequence[Row]], after: tuple[Policy, Sequence[Row]], decimals: int) -> list[Change]:
    """What is another term in ``after``, the network's own first, then device by device."""
    found = _changed("", NETWORK_KEYS, before[0], after[0], decimals)
    old = {device: tuple(terms) for device, *terms in before[1]}
    new = {device: tuple(terms) for device, *terms in after[1]}
    for device in sorted(old | new):
        terms = old.get(device, tuple(Donor())), new.get(device, tuple(Donor()))
        found += _changed(device, DEVICE_KEYS, *terms, decimals)
    return found


def _changed(
    device: str, keys: Iterable[str], before: Sequence[object], after: Sequence[object], decimals: int
) -> list[Change]:
    return [
        Change(device, key, shown_term(key, old, decimals), shown_term(key, new, decimals))
        for key, old, new in zip(keys, before, after, strict=True)
        if old != new
    ]


def _named_twice(files: Sequence[PolicyFile]) -> Iterable[Problem]:
    networks: dict[str, str] = {}
    devices: dict[str, str] = {}
    for file in files:
        if file.network in networks:
            text = f"{file.network} has a policy in {networks[file.network]} already"
            yield file.problem(("network",), "network-in-two-files", text)
        networks.setdefault(file.network, file.file)
        for device, *_ in file.rows:
            if device in devices:
                text = f"{device} has terms in {devices[device]} already"
                yield file.problem(("devices", device), "device-in-two-files", text)
            devices.setdefault(device, file.file)


async def _of_devices(read: Reader, file: PolicyFile, own: Sequence[str]) -> list[Problem]:
    problems = []
    for device, *_ in file.rows:
        if device in own:
            continue
        try:
            network = cast("str", as_rows(await read("identity", "device", {"device": device}))[1])
            code, text = "other-network", f"{device} is a device of {network}, not of {file.network}"
        except RefusedError as error:
            if error.code != "unknown-device" and error.code not in HIDDEN:
                raise
            code, text = "unknown-device", f"{file.network} has no device {device}"
        problems.append(file.problem(("devices", device), code, text + meant(device, own)))
    return problems


async def _of_agreement(read: Reader, file: PolicyFile) -> list[Problem]:
    """Whether what is left can be sold under the agreement that the file names."""
    number = file.policy.sale
    if not number or file.policy.excess != SELL:
        return []
    try:
        row = cast("tuple[Any, ...]", as_rows(await read("agreements", "agreement", {"agreement": number})))
    except RefusedError as error:
        if error.code != "unknown-agreement" and error.code not in HIDDEN:
            raise
        return [file.problem(("agreement",), "unknown-agreement", f"{file.network} has no agreement {number}")]
    if row[_KIND] != SALE:
        return [file.problem(("agreement",), "wrong-kind", f"agreement {number} is about a {row[_KIND]}")]
    if not row[_AUTOMATIC]:
        text = f"agreement {number} is no standing sale: it is not automatic, so nothing would be sold by itself"
        return [file.problem(("agreement",), "wrong-kind", text)]
    if row[_GIVER] != file.network:
        text = f"agreement {number} is a sale by {row[_GIVER]}, not by {file.network}"
        return [file.problem(("agreement",), "other-network", text)]
    if row[_STATE] != OPEN:
        text = f"agreement {number} is not open but {row[_STATE]}"
        return [file.problem(("agreement",), "agreement-not-open", text)]
    return []
