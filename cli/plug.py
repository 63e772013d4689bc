"""`watt wallet watch --device D --exec CMD`: a device's plug does what the ledger says.

The command is run for every `curtail` and `restore` of the device, one after the other, never two at a time, and once
at the start for what holds then. It is run without a shell; the event is in its environment:

    WATT_EVENT   curtail or restore
    WATT_DEVICE  the device
    WATT_PERIOD  the billing period
    WATT_HEIGHT  the block that says so
    WATT_TIME    its time, in seconds since 1970

and what is in this program's, but for the passphrase.

A command that fails, or takes longer than it may, is run again, TRIES times in all; then it is reported and given up,
and the next event is waited for. What it prints goes to standard error.

Blocks are read from the one after the state that was applied at the start, so that none is missed and none comes twice,
also when the gateway changes: because it does not answer, is behind, or brings no block for QUIET_S seconds. If no
gateway answers, they are tried again until one does. If none has the next block any more (each began later, from a
snapshot), the present state is applied, if it is another one, and followed from there.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from cli.answers import DEVICE_NOW, record
from node.errors import RefusedError
from node.gateway.client import BlockEvents, Client
from node.keyfile import PASSPHRASE_VARIABLE

CURTAIL: Final = "curtail"
RESTORE: Final = "restore"
TRIES: Final = 3
PAUSES_S: Final = (1.0, 2.0, 5.0, 10.0)
"""Between tries; the last one again and again."""
QUIET_S: Final = 30.0
GRACE_S: Final = 2.0
"""How long a command that is to end may take to clean up."""
_TRY_AGAIN: Final = (
    "unreachable", "untrusted-node", "slow-subscriber", "stopping", "not-a-member", "busy", "too-fast",
    "too-many-subscribers", "too-many-connections", "mempool-full", "no-block", "below-base", "slow-request",
)  # fmt: skip
_BLOCK_GONE: Final = "below-base"


class Switch(NamedTuple):
    """What the plug is told by block ``height`` of ``time`` (s): ``event`` is CURTAIL or RESTORE."""

    event: str
    device: str
    period: int
    height: int
    time: int

    @property
    def environment(self) -> dict[str, str]:
        return {f"WATT_{name.upper()}": str(value) for name, value in self._asdict().items()}


class Done(NamedTuple):
    """How a switch went: after how many ``tries``; ``fault``: what was wrong with the last, empty if it worked."""

    switch: Switch
    tries: int
    fault: str


Tell = Callable[[str], None]


class Plug:
    """Runs ``command``, which may take ``timeout_s``, once at a time. ``tell``: says what went wrong with a try."""

    def __init__(self, command: Sequence[str], timeout_s: float, tell: Tell) -> None:
        self._command = tuple(command)
        self._timeout_s = timeout_s
        self._tell = tell

    async def apply(self, switch: Switch) -> Done:
        """Run the command until it works, at most TRIES times."""
        for number in range(1, TRIES + 1):
            fault = await self._run(switch)
            if not fault:
                return Done(switch, number, "")
            self._tell(f"{switch.event} of block {switch.height}: {fault} (try {number} of {TRIES})")
            if number < TRIES:
                await asyncio.sleep(PAUSES_S[number - 1])
        return Done(switch, TRIES, fault)

    async def _run(self, switch: Switch) -> str:
        """One run; what was wrong with it, empty if nothing."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,
                env={**_without_secrets(os.environ), **switch.environment},
                start_new_session=True,  # so that what it has started ends with it
            )
        except OSError as error:
            return f"the command cannot be run: {error.strerror}"
        try:
            code = await asyncio.wait_for(process.wait(), self._timeout_s)
        except TimeoutError:
            return f"the command did not end within {self._timeout_s:g} s"
        finally:
            if process.returncode is None:
                await _end(process)
        return f"the command ended with {code}" if code else ""


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What a command may know of this one: all but the passphrase of the key that is read with."""
    return {name: value for name, value in environment.items() if name != PASSPHRASE_VARIABLE}


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command with all that it has started: first asked, then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            await asyncio.wait_for(process.wait(), GRACE_S)
        except TimeoutError:
            continue
        break


async def present(client: Client, device: str) -> Switch:
    """What the plug is to do by the state of the node asked; ``height`` and ``time``: of its newest block.

    Raises RefusedError: unknown-device, unreachable.
    """
    now = record(await client.query("overview", "device", {"device": device}), DEVICE_NOW)
    event, period = (RESTORE, now["period"]) if now["cut"] is None else (CURTAIL, now["cut"][0])
    return Switch(event, device, period, now["height"], now["time"])


class Follower:
    """Applies what the ledger tells the plug of ``device``. ``gateways``: how many the client has; ``tell``: says what
    went wrong with reading.
    """

    def __init__(
        self, client: Client, gateways: int, device: str, apply: Callable[[Switch], Awaitable[object]], tell: Tell
    ) -> None:
        self._client = client
        self._gateways = gateways
        self._device = device
        self._apply = apply
        self._tell = tell
        self._height = -1  # the last block that has been done
        self._event = ""  # the last one that was applied
        self._failures = 0
        self._left: int | None = None  # blocks still to be done; None: without end

    async def run(self, blocks: int | None = None) -> None:
        """The present state, then every switch that a block brings; without end, or for so many ``blocks``.

        Raises RefusedError: unknown-device, bad-answer.
        """
        is_lost, gone = True, 0
        self._left = blocks
        while self._left is None or self._left > 0:
            try:
                if is_lost:
                    await self._begin()
                    is_lost, gone = False, 0
                await self._read()
            except RefusedError as error:
                if error.code not in _TRY_AGAIN:
                    raise
                gone += error.code == _BLOCK_GONE
                is_lost = is_lost or gone >= self._gateways
                await self._pause(error)

    async def _begin(self) -> None:
        """Apply the state of the node asked, unless it is the one that was applied last."""
        state = await present(self._client, self._device)
        if state.height < self._height:
            raise RefusedError("no-block", f"the node is at block {state.height}, behind {self._height}")
        if state.event != self._event:
            await self._apply(state)
        self._height, self._event = state.height, state.event

    async def _read(self) -> None:
        """Do the next blocks, until these are enough, or none comes for a while."""
        stream = self._client.subscribe(self._height + 1)
        while self._left is None or self._left > 0:
            try:
                block = await asyncio.wait_for(anext(stream), QUIET_S)
            except TimeoutError:
                return self._client.turn_away()
            for switch in _switches(block, self._device):
                await self._apply(switch)
                self._event = switch.event
            self._height, self._failures = block.height, 0
            self._left = None if self._left is None else self._left - 1

    async def _pause(self, error: RefusedError) -> None:
        """After a failure: say so once, and ask another gateway a little later."""
        if not self._failures:
            self._tell(f"{error.code}: {error.message}; trying again")
        if error.code in ("no-block", _BLOCK_GONE):
            self._client.turn_away()
        await asyncio.sleep(PAUSES_S[min(self._failures, len(PAUSES_S) - 1)])
        self._failures += 1


def _switches(block: BlockEvents, device: str) -> list[Switch]:
    """What a block tells the plug of ``device``, in that order. Raises RefusedError("bad-answer")."""
    switches = []
    for event in block.events:
        if event.topic in (CURTAIL, RESTORE) and device in event.keys:
            if not isinstance(event.data, int):
                raise RefusedError("bad-answer", f"a {event.topic} without its period: another version?")
            switches.append(Switch(event.topic, device, event.data, block.height, block.time))
    return switches
