"""What to do when a node cannot start, or stops: told in the one line that says why. docs/operations.md has more."""

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from node.errors import WattError

P = ParamSpec("P")
R = TypeVar("R")

_JOIN: Final = "`watt node join` fetches the chain anew from other members' nodes"

ADVICE: Final = {
    "no-config": "`watt node init` makes one; --config names it",
    "bad-config": "mend the line, or compare with what `watt node init` writes",
    "no-genesis": "get the document that all members have, and put it where node.toml says",
    "bad-genesis": "get the document that all members have: another member's copy is as good",
    "no-key-file": "restore it from your backup; without one the members have to agree on a new key for you",
    "bad-key-file": "restore it from your backup; without one the members have to agree on a new key for you",
    "no-certificate": "restore it: it stands in the genesis document, too",
    "wrong-certificate": "restore it: it stands in the genesis document, too",
    "db-missing": f"this node has run before: put the database back, or {_JOIN}",
    "db-corrupt": f"look at the disk; then {_JOIN}, and keeps the old files until that is done",
    "db-newer-format": "run the version of the program that wrote it: no other reads it",
    "db-other-chain": "look at `genesis` and `data_dir` in node.toml: they belong to two networks",
    "vote-log-other-chain": "look at `genesis` and `data_dir` in node.toml: they belong to two networks",
    "db-locked": "stop the other process first; two with one key would vote against each other",
    "port-in-use": "stop what listens there, or change node.toml",
    "cannot-write": "see to the directory's owner, and to room on the disk",
    "upgrade-missing": "`watt node upgrade install DIR --config node.toml` with the bundle, then once more",
    "diverged": "keep the data as they are for whoever looks into it, and do not start this node again",
}
"""By code; a code that is not here says enough by itself."""


def advised(step: Callable[P, R]) -> Callable[P, R]:
    """The same call; what it raises says what to do as well."""

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return step(*args, **kwargs)
        except WattError as error:
            if error.code not in ADVICE:
                raise
            raise type(error)(error.code, f"{error.message}; {ADVICE[error.code]}") from error

    return run
