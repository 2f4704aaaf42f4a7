"""Play the Dockerfile in a debootstrap chroot, then run the demo there as its unprivileged user.

    python -m tools.prove_dockerfile DIRECTORY        (root, debootstrap; needs about 1 GB)

No Docker engine is needed. The root is bound read-only for the last step, as `docker run
--read-only` would; only the volumes and /tmp are writable. The machine's own package settings are
lent to the chroot for the time of the build.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LENT = (
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d",
    "/etc/apt/apt.conf.d",
    "/etc/apt/preferences.d",
    "/etc/apt/keyrings",
    "/etc/pip.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/ssl/certs",
    "/usr/local/share/ca-certificates",
)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(INSTRUCTION, arguments) of a Dockerfile, continuation lines joined."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if line.strip() and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


class Chroot:
    """What the instructions have built so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory = "/"
        self.user = "root"
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.volumes: list[str] = []
        self.entrypoint: list[str] = []

    def run(self, command: str) -> None:
        """One RUN step."""
        subprocess.run(self._argv(self.path, ["sh", "-ec", command]), check=True)

    def _argv(self, root: Path, command: list[str]) -> list[str]:
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        inner = ["sh", "-ec", f'cd {self.directory} && exec "$@"', "sh", *command]
        user = [] if self.user == "root" else [f"--userspec={self.user}"]
        return ["env", "-i", *settings, "chroot", *user, str(root), *inner]

    def copy(self, arguments: str) -> None:
        """One COPY step from the checkout."""
        *sources, target = arguments.split()
        for source in sources:
            origin = ROOT / source
            if origin.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(origin, self._inside(target), ignore=ignored, dirs_exist_ok=True)
            else:
                self._inside(target).mkdir(parents=True, exist_ok=True)
                shutil.copy2(origin, self._inside(target) / origin.name)

    def _inside(self, path: str) -> Path:
        return self.path / path.lstrip("/")

    def step(self, word: str, rest: str) -> None:
        """Play one instruction; those that only describe a container are kept or passed over."""
        if word == "FROM":
            suite = rest.partition(":")[2].removesuffix("-slim")
            if not (self.path / "usr").exists():
                subprocess.run(
                    ["debootstrap", "--variant=minbase", suite, str(self.path)],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
            self._lend()
        elif word == "RUN":
            self.run(rest)
        elif word == "COPY":
            self.copy(rest)
        elif word == "WORKDIR":
            self.directory = rest
            self._inside(rest).mkdir(parents=True, exist_ok=True)
        elif word == "ENV":
            name, _, value = rest.partition("=")
            self.environment[name] = value
        elif word == "USER":
            self.user = rest
        elif word == "VOLUME":
            self.volumes.append(rest)
        elif word == "ENTRYPOINT":
            self.entrypoint = json.loads(rest)
        elif word not in ("EXPOSE", "HEALTHCHECK", "CMD"):
            raise SystemExit(f"instruction not known here: {word}")

    def _lend(self) -> None:
        for name in LENT:
            source = Path(name)
            target = self._inside(name)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True, symlinks=False)
            elif source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)

    def prove(self, arguments: list[str]) -> int:
        """Run the entry point on a read-only root with private volumes; its exit code."""
        view = self.path.with_name(self.path.name + ".view")
        view.mkdir(exist_ok=True)
        mounts: list[Path] = []
        try:
            _mount(["--bind", str(self.path), str(view)], view, mounts)
            _mount(["-o", "remount,bind,ro", str(view)], view, [])
            # Only /tmp: the demo keeps its homes there, the volumes stay as the image left them.
            _mount(
                ["-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(view / "tmp")], view / "tmp", mounts
            )
            _mount(["--bind", "/dev", str(view / "dev")], view / "dev", mounts)
            _mount(["-t", "proc", "proc", str(view / "proc")], view / "proc", mounts)
            done = subprocess.run(self._argv(view, [*self.entrypoint, *arguments]), check=False)
            return done.returncode
        finally:
            for mount in reversed(mounts):
                subprocess.run(["umount", str(mount)], check=True)
            view.rmdir()


def _mount(arguments: list[str], target: Path, mounts: list[Path]) -> None:
    subprocess.run(["mount", *arguments], check=True)
    mounts.append(target)


def main(arguments: list[str]) -> int:
    """Build, then prove with `demo --once --json`."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    chroot = Chroot(Path(arguments[0]).resolve())
    for word, rest in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        print(f"--- {word} {rest[:100]}", flush=True)
        chroot.step(word, rest)
    return chroot.prove(["demo", "--once", "--json"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
