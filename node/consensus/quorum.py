"""The thresholds of PBFT, in integers, here and nowhere else (Castro and Liskov 1999, section 4)."""


def max_faulty(n: int) -> int:
    """f: how many of ``n`` members may be arbitrarily faulty."""
    return (n - 1) // 3


def quorum(n: int) -> int:
    """ceil((n+f+1)/2): any two quorums share at least f+1 members, and n-f members can always form one."""
    return (n + max_faulty(n) + 2) // 2


def weak_quorum(n: int) -> int:
    """f+1: at least one of them is correct."""
    return max_faulty(n) + 1


def primary_of(view: int, n: int) -> int:
    """The index of the member that proposes in ``view``."""
    return view % n
