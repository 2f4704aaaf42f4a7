"""`./run`: one environment, made once, whatever happens on the way.

The Python it finds is a script that says what it was asked for: nothing is really installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.space import program

ROOT = Path(__file__).resolve().parent.parent.parent

FAKE_PYTHON = """#!/bin/sh
# The last word of the story: what this Python was asked to do.
case "$1 ${2:-}" in
"-c "*ensurepip*) [ ! -e "$STORY.no-venv" ] ;;
"-c "*) exit 0 ;;
"-m venv")
    echo venv >>"$STORY"
    rm -rf "$4" && mkdir -p "$4/bin" && ln -s "$0" "$4/bin/python" && : >"$4/pyvenv.cfg" ;;
"-m pip")
    echo pip >>"$STORY"
    [ ! -p "$STORY.gate" ] || read -r _ <"$STORY.gate"
    [ ! -e "$STORY.no-network" ] ;;
*) for word in "$@"; do printf '[%s]' "$word"; done ;;
esac
"""
TOOLS = ("sh", "dirname", "mkdir", "rm", "cp", "ln", "cmp", "cat", "ls", "flock", "env", "readlink")


class Checkout:
    """A copy of `run` with a lock of its own and a Python that only tells."""

    def __init__(self, place: Path) -> None:
        self.place = place / "a checkout"
        self.story = place / "story"
        self.bin = place / "bin"
        (self.place / "tests").mkdir(parents=True)
        (self.bin / "system").mkdir(parents=True)
        shutil.copy2(ROOT / "run", self.place / "run")
        run = (self.place / "run").read_text()
        assert "/usr/bin/python3.11" in run
        (self.place / "run").write_text(run.replace("/usr/bin/", f"{self.bin}/system/"))
        (self.place / "requirements.lock").write_text("one==1\n")
        (self.place / "tests" / "debian-packages").write_text("env coreutils\n")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(program(tool))
        self.script("python3.11", FAKE_PYTHON)
        self.script("id", "#!/bin/sh\necho 1000\n")

    def script(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    @property
    def venv(self) -> Path:
        return self.place / ".venv"

    @property
    def told(self) -> list[str]:
        return self.story.read_text().split() if self.story.exists() else []

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.place / "run"), *arguments],
            env={"PATH": str(self.bin), "STORY": str(self.story)} | variables,
            cwd=self.place.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=50)
        return process.returncode, out, err


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_first_call_makes_the_environment_and_the_second_only_uses_it(checkout: Checkout) -> None:
    code, out, err = checkout.run("bal", "show", "two words", "*")
    assert (code, out) == (0, "[-m][mssmtp][bal][show][two words][*]")
    assert err.count("\n") == 1
    assert checkout.run("--version") == (0, "[-m][mssmtp][--version]", "")
    assert checkout.told == ["venv", "pip"]


def test_half_built_environment_is_built_again(checkout: Checkout) -> None:
    gone = checkout.story.with_name("story.no-network")
    gone.touch()
    code, _, err = checkout.run("--version")
    assert code == 1
    assert "needs the network" in err
    gone.unlink()
    assert checkout.run("--version")[0] == 0
    assert checkout.told == ["venv", "pip", "venv", "pip"]


def _new_lock(checkout: Checkout) -> None:
    (checkout.place / "requirements.lock").write_text("one==2\n")


def _lost_python(checkout: Checkout) -> None:
    python = checkout.venv / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3.11")


def _lost_everything(checkout: Checkout) -> None:
    shutil.rmtree(checkout.venv)


@pytest.mark.parametrize("harm", [_new_lock, _lost_python, _lost_everything])
def test_environment_that_does_not_fit_any_more_is_built_again(
    checkout: Checkout, harm: Callable[[Checkout], None]
) -> None:
    checkout.run("--version")
    harm(checkout)
    assert checkout.run("--version")[:2] == (0, "[-m][mssmtp][--version]")
    assert checkout.told.count("pip") == 2


def test_two_first_calls_at_once_build_once(checkout: Checkout) -> None:
    gate = checkout.story.with_name("story.gate")
    os.mkfifo(gate)
    first = checkout.start("first")
    opened = gate.open("w")  # returns once the first call is inside pip
    second = checkout.start("second")
    assert second.stderr is not None
    waiting = second.stderr.readline()
    opened.write("go\n")
    opened.close()
    assert first.communicate(timeout=50)[0] == "[-m][mssmtp][first]"
    assert second.communicate(timeout=50)[0] == "[-m][mssmtp][second]"
    assert "waiting for it" in waiting
    assert checkout.told == ["venv", "pip"]


def test_directory_that_is_no_environment_is_left_alone(checkout: Checkout, tmp_path: Path) -> None:
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "one").touch()
    code, _, err = checkout.run("--version", MSSMTP_VENV="letters")
    assert code == 1
    assert f"{letters} is not an environment" in err
    assert (letters / "one").exists()


def test_without_venv_module_the_command_to_run_is_printed(checkout: Checkout) -> None:
    checkout.story.with_name("story.no-venv").touch()
    code, _, err = checkout.run("--version")
    assert code == 1
    assert "apt-get install python3-venv" in err
    assert checkout.told == []


def _says_its_name(checkout: Checkout, name: str) -> None:
    checkout.script(name, FAKE_PYTHON.replace("echo venv", f"echo {name}"))


def test_the_systems_python_comes_before_others(checkout: Checkout) -> None:
    _says_its_name(checkout, "python3.11")
    _says_its_name(checkout, "system/python3.11")
    assert checkout.run("--version")[0] == 0
    assert checkout.told == ["system/python3.11", "pip"]


def test_the_python_one_names_comes_before_the_systems(checkout: Checkout) -> None:
    _says_its_name(checkout, "mine")
    _says_its_name(checkout, "system/python3.11")
    assert checkout.run("--version", MSSMTP_PYTHON="mine")[0] == 0
    assert checkout.told == ["mine", "pip"]


def test_a_python_one_names_that_cannot_be_used_is_refused(checkout: Checkout) -> None:
    """Another in its place would be found out late, by who needed that one."""
    checkout.script("old", FAKE_PYTHON.replace("exit 0 ;;", "exit 1 ;;"))
    for wrong in ("old", "/nowhere/python3.12"):
        code, out, err = checkout.run("--version", MSSMTP_PYTHON=wrong)
        assert (code, out) == (1, "")
        assert f"MSSMTP_PYTHON={wrong} is no Python 3.11 or newer" in err
    assert checkout.told == []


def test_a_python_named_once_the_environment_is_there_is_told_and_what_is_there_used(
    checkout: Checkout,
) -> None:
    checkout.script("mine", FAKE_PYTHON)
    checkout.run("--version")
    whole = (0, "[-m][mssmtp][--version]", "")
    assert checkout.run("--version", MSSMTP_PYTHON="python3.11") == whole
    for name in ("mine", "/nowhere/python3.12"):
        code, out, err = checkout.run("--version", MSSMTP_PYTHON=name)
        assert (code, out) == whole[:2]
        assert f"made by another Python than MSSMTP_PYTHON={name}" in err
    assert checkout.told == ["venv", "pip"]


def test_a_named_python_that_venv_was_not_installed_for_is_told(checkout: Checkout) -> None:
    _root_with_apt(checkout, "")
    checkout.script("mine", FAKE_PYTHON.replace('[ ! -e "$STORY.no-venv" ]', "false"))
    code, _, err = checkout.run("--version", MSSMTP_PYTHON="mine")
    assert code == 1
    assert "mine has no venv module" in err
    assert "venv" not in checkout.told


def test_a_python_without_venv_comes_after_one_with_it(checkout: Checkout) -> None:
    checkout.script("system/python3.11", FAKE_PYTHON.replace('[ ! -e "$STORY.no-venv" ]', "false"))
    assert checkout.run("--version")[0] == 0
    assert checkout.told == ["venv", "pip"]


def test_without_python_the_command_to_run_is_printed(checkout: Checkout) -> None:
    (checkout.bin / "python3.11").unlink()
    code, _, err = checkout.run("--version")
    assert code == 1
    assert "apt-get install python3 python3-venv" in err


def test_missing_programs_are_named_and_the_suite_runs_without_them(checkout: Checkout) -> None:
    packages = checkout.place / "tests" / "debian-packages"
    packages.write_text("env coreutils\nno-such-a a-package\nno-such-b b-package\n")
    code, out, err = checkout.run("test", "tests/setup", "-k", "x y")
    assert code == 0
    assert out.startswith("[-m][pytest]")
    assert out.endswith("[tests/setup][-k][x y]")
    assert "Not installed: a-package b-package." in err


def _root_with_apt(checkout: Checkout, apt: str) -> None:
    checkout.script("id", "#!/bin/sh\necho 0\n")
    checkout.script("debconf-set-selections", "#!/bin/sh\ncat >/dev/null\n")
    checkout.script("apt-get", f'#!/bin/sh\necho "$@" >>"$STORY"\n{apt}\n')
    packages = checkout.place / "tests" / "debian-packages"
    packages.write_text("env coreutils\nno-such-a a-package\n")


def test_as_root_on_debian_missing_packages_are_installed(checkout: Checkout) -> None:
    _root_with_apt(checkout, "echo noise >&2")
    code, _, err = checkout.run("test")
    assert code == 0
    assert "Installing: a-package" in err
    assert "noise" not in err
    assert "-qq install -y --no-install-recommends a-package" in checkout.story.read_text()


def test_postgresql_is_installed_without_a_cluster_of_its_own(checkout: Checkout) -> None:
    _root_with_apt(checkout, "")
    checkout.script("sed", '#!/bin/sh\necho "sed $@" >>"$STORY"\n')
    packages = checkout.place / "tests" / "debian-packages"
    packages.write_text("env coreutils\nno-such-a a-package\nno-such-b postgresql\n")
    assert checkout.run("test")[0] == 0
    told = [line for line in checkout.story.read_text().splitlines() if " " in line]
    assert [line.rpartition(" --no-install-recommends ")[2] for line in told] == [
        "postgresql-common",
        "sed -i s/^#*create_main_cluster.*/create_main_cluster = false/"
        " /etc/postgresql-common/createcluster.conf",
        "a-package postgresql",
    ]


def test_an_engine_is_named_to_the_suite_and_a_wrong_one_refused(checkout: Checkout) -> None:
    checkout.script(
        "python3.11", FAKE_PYTHON.replace("do printf", 'do printf "$MSSMTP_ENGINE "; printf')
    )
    code, out, _ = checkout.run("test", "--engine", "postgresql", "-x")
    assert code == 0
    assert out.endswith("postgresql [-x]")
    code, _, err = checkout.run("test", "--engine", "oracle")
    assert code == 1
    assert "sqlite or postgresql" in err


def test_offline_as_root_the_suite_runs_all_the_same(checkout: Checkout) -> None:
    _root_with_apt(checkout, "echo no archive answers >&2; exit 100")
    code, out, err = checkout.run("test")
    assert code == 0
    assert out.startswith("[-m][pytest]")
    assert "no archive answers" in err
    assert "Not installed: a-package." in err


@pytest.mark.parametrize("script", ["run", ".ci/run"])
def test_scripts_are_plain_posix_shell(script: str) -> None:
    done = subprocess.run(
        [program("shellcheck"), "--shell=sh", str(ROOT / script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
