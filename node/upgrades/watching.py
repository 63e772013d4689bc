"""Tells an operator in good time that a bundle has to be installed: in the log, from the vote on until it is there."""

import logging
from collections.abc import Callable
from typing import Final

from chaincode.upgrades import Scheduled
from node.diagnosis import Upgrade
from node.executor import Executor

AGAIN_AFTER: Final = 600
"""Looks, one a second, after which what still lacks is said again."""

log = logging.getLogger("watt.node")


class UpgradeWatch:
    """Looks at what is scheduled, and whether it is installed. ``height``: of the newest block."""

    def __init__(self, executor: Executor, height: Callable[[], int]) -> None:
        self._executor = executor
        self._height = height
        self._seen: tuple[Scheduled, bool] | None = None
        self._looks = 0

    def look(self) -> None:
        """Once a second: log what has changed, and every ten minutes what is still missing."""
        coming = self._executor.coming_upgrade()
        if coming == self._seen and self._looks < AGAIN_AFTER:
            self._looks += 1
            return
        changed, self._seen, self._looks = coming != self._seen, coming, 0
        if coming is None:
            return
        upgrade, is_here = coming
        said = (upgrade.name, upgrade.digest.hex(), upgrade.first_height)
        if not is_here:
            left = upgrade.first_height - self._height() - 1
            log.warning(
                "upgrade-missing name=%s digest=%s first-height=%d blocks-left=%d: this node stops before that block; "
                "install the bundle with `watt node upgrade install`",
                *(*said, left),
            )
        elif changed:
            log.info("upgrade-ready name=%s digest=%s first-height=%d", *said)

    def report(self) -> Upgrade | None:
        """For the node's report."""
        coming = self._executor.coming_upgrade()
        if coming is None:
            return None
        upgrade, is_here = coming
        return Upgrade(upgrade.name, upgrade.digest.hex(), upgrade.first_height, is_here)
