"""Play the Dockerfile in a debootstrap chroot, then use the result as its unprivileged user.

    python -m tools.prove_dockerfile DIRECTORY    (root, debootstrap; 1 GB, three minutes)

No Docker engine is needed. The proof runs as `docker run --read-only --network none` would: only
the volumes and /tmp can be written, and there is no network but loopback. The machine's own
package settings are lent to the chroot. DIRECTORY is made, and left for a look.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LENT_FILES = (
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d",
    "/etc/apt/apt.conf.d",
    "/etc/apt/preferences.d",
    "/etc/apt/keyrings",
    "/etc/pip.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/usr/local/share/ca-certificates",
)
LENT_VARIABLES = ("PIP_INDEX_URL", "PIP_CERT", "http_proxy", "https_proxy", "no_proxy")
ONLY_DESCRIBE = ("EXPOSE", "HEALTHCHECK", "STOPSIGNAL")

# In a mount namespace of its own, so that nothing is left mounted. $volumes were binds of their
# own before the root becomes read-only, and stay writable.
INSIDE = """
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for volume in $volumes; do mount --bind "$root$volume" "$root$volume"; done
if [ -n "$read_only" ]; then
    mount -o remount,bind,ro "$root"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    ip link set lo up
fi
exec chroot --userspec="$user" "$root" env -i "$@"
"""


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(INSTRUCTION, arguments) of a Dockerfile, continuation lines joined, comments left out."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(kept).replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word:
            yield word.upper(), " ".join(rest.split())


@dataclass
class Image:
    """What the instructions have built so far in `root`."""

    root: Path
    directory: str = "/"
    user: str = "root"
    volumes: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )

    def step(self, word: str, rest: str) -> None:
        """Play one instruction. SystemExit for one that is not known here."""
        match word:
            case "FROM":
                self._start(rest.partition(":")[2].removesuffix("-slim"))
            case "RUN":
                lent = {name: os.environ[name] for name in LENT_VARIABLES if name in os.environ}
                self.run(["sh", "-ec", rest], more=lent).check_returncode()
            case "COPY":
                self._copy(*rest.split())
            case "WORKDIR":
                self.directory = rest
                self.inside(rest).mkdir(parents=True, exist_ok=True)
            case "ENV":
                name, _, self.variables[name] = rest.partition("=")
            case "USER":
                self.user = rest
            case "VOLUME":
                self.volumes.append(rest)
            case "ENTRYPOINT":
                self.entrypoint = json.loads(rest)
            case "CMD":
                self.command = json.loads(rest)
            case _ if word not in ONLY_DESCRIBE:
                raise SystemExit(f"instruction not known here: {word}")

    def inside(self, path: str) -> Path:
        """Where `path` of the image lies."""
        return self.root / path.lstrip("/")

    def run(
        self,
        command: list[str],
        *,
        read_only: bool = False,
        more: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` inside as the image's user; standard output is kept when `read_only`."""
        settings = [f"{name}={value}" for name, value in (self.variables | (more or {})).items()]
        namespaces = ["--mount", "--net"] if read_only else ["--mount"]
        enter = ["sh", "-ec", f'cd {self.directory} && exec "$@"', "sh"]
        return subprocess.run(
            ["unshare", *namespaces, "sh", "-ec", INSIDE, "sh", *settings, *enter, *command],
            env=os.environ
            | {
                "root": str(self.root),
                "user": self.user,
                "volumes": " ".join(self.volumes),
                "read_only": "yes" if read_only else "",
            },
            check=False,
            text=True,
            stdout=subprocess.PIPE if read_only else None,
        )

    def _start(self, suite: str) -> None:
        command = ["debootstrap", "--variant=minbase", suite, str(self.root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.inside("/etc/apt/sources.list").unlink(missing_ok=True)
        for name in LENT_FILES:
            if Path(name).is_dir():
                shutil.copytree(name, self.inside(name), dirs_exist_ok=True)
            elif Path(name).is_file():
                shutil.copy2(name, self.inside(name))

    def _copy(self, *names: str) -> None:
        *sources, target = names
        for source in sources:
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, self.inside(target), ignore=ignored)
            else:
                shutil.copy2(ROOT / source, self.inside(target) / source)


def prove(image: Image) -> Iterator[tuple[str, bool]]:
    """(claim, whether it held) of the finished image."""

    def mssmtp(*arguments: str) -> subprocess.CompletedProcess[str]:
        return image.run([*image.entrypoint, *arguments], read_only=True)

    yield "its user is not root", image.run(["id", "-u"], read_only=True).stdout.strip() != "0"
    for path in (image.directory, "/etc", "/usr"):
        done = image.run(["touch", f"{path}/probe"], read_only=True)
        yield f"{path} cannot be written", done.returncode != 0
    home = image.volumes[0]
    domain = "ch-valmont.mssante.example"
    made = mssmtp("init", "--home", home, "--domain", domain)
    yield "init makes a home on the volume", made.returncode == 0
    lacking = mssmtp(*image.command)
    yield "serve names the missing certificate and ends with 2", lacking.returncode == 2
    demo = mssmtp("demo", "--once", "--json")
    print(demo.stdout)
    told = json.loads(demo.stdout or "{}")
    yield "demo --once --json proves the main job", demo.returncode == 0 and told["delivered"]


def main(arguments: list[str]) -> int:
    """Build, then prove; the exit code is 1 when a claim does not hold."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    image = Image(Path(arguments[0]).resolve())
    if image.root.exists():
        print(f"{image.root} exists already", file=sys.stderr)
        return 2
    for word, rest in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        print(f"--- {word} {rest}", flush=True)
        image.step(word, rest)
    held = True
    for claim, holds in prove(image):
        print(f"{'held' if holds else 'FAILED'}: {claim}", flush=True)
        held = held and holds
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
