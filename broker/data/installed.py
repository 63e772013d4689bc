"""Where data sets lie that come inside a wheel: found where they are installed, and read as files."""

import importlib.util
from pathlib import Path

from node.errors import ConfigError


def find_installed(package: str, inside: str, refusal: ConfigError) -> Path:
    """The directory ``inside`` the installed ``package``, no code of which is run. Raises ``refusal``, else."""
    spec = importlib.util.find_spec(package)  # finds a top-level package without running it
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        directory = Path(location) / inside
        if directory.is_dir():
            return directory
    raise refusal
