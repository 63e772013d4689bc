"""Every decoder that bytes from outside reach: of peers, of clients, of answering nodes, of files at start.

A target takes any bytes. It may raise the errors that its decoder documents, and nothing else; what it returns does not
matter. ``seeds`` are valid inputs to begin with. The same targets run in ``make test`` and, longer, in ``make fuzz``.
"""

from collections.abc import Callable
from typing import NamedTuple


class Target(NamedTuple):
    """``run`` a decoder on bytes; ``allowed``: what it may raise; ``seeds``: makes valid inputs."""

    name: str
    run: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...]
    seeds: Callable[[], tuple[bytes, ...]]

    def __call__(self, data: bytes) -> bool:
        """Whether the bytes were taken; any error that is not allowed goes through."""
        try:
            self.run(data)
        except self.allowed:
            return False
        return True


TARGETS: dict[str, Target] = {}


def target(
    *allowed: type[Exception], seeds: Callable[[], tuple[bytes, ...]]
) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """Decorates a function of bytes: it becomes the target of its name."""

    def enter(run: Callable[[bytes], object]) -> Callable[[bytes], object]:
        name = run.__name__.replace("_", "-")
        TARGETS[name] = Target(name, run, allowed, seeds)
        return run

    return enter
