"""What holds for every test."""

from hypothesis import settings

# How long an example takes says more about the machine than about the code: a time-out of a whole test bounds it.
settings.register_profile("wattledger", deadline=None)
settings.load_profile("wattledger")
