"""What may lie in the repository: invented people only, no national file, no index, no machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Reserved names (RFC 2606, 6761) and the three real domains whose *form* a rule needs.
INVENTED = re.compile(r"(\.|\A)(test|example|invalid|localhost|example\.(com|org|net))\Z")
NEEDED_FORMS = {
    "patient.mssante.fr",
    "interop-mssante.apicrypt.org",
    "apicrypt.org",
}
APICRYPT_NATIVE = re.compile(r"medical[0-9X*]*\.(apicrypt\.org|apicrypt\.test)\Z")
ADDRESS = re.compile(r"[A-Za-z0-9._%+'-]+@((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,})")
NATIONAL_FILE = re.compile(
    r"(listeblanchemssante|extraction_correspondance|ps_libreacces|extraction_monotable)", re.I
)
REGISTRY_HOST = re.compile(
    r"(py" r"pi\.(org|python)|files\.python" r"hosted|registry\.npm" r"js|deb\.deb" r"ian\.org)"
)


def tracked() -> list[Path]:
    # Whoever runs the suite may not own the checkout (a container, root).
    git = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT)]
    done = subprocess.run(
        [*git, "ls-files", "-co", "--exclude-standard", "-z"],
        check=True,
        capture_output=True,
    )
    return [ROOT / name.decode() for name in done.stdout.split(b"\0") if name]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        if path.is_file() and path.stat().st_size < 2_000_000:
            octets = path.read_bytes()
            if b"\0" not in octets[:1024]:
                found.append((path, octets.decode("utf-8", "replace")))
    return found


def real_domains(text: str) -> set[str]:
    """Domains of addresses in `text` that could belong to somebody."""
    return {
        domain
        for domain in (match.group(1).lower() for match in ADDRESS.finditer(text))
        if not (INVENTED.search(domain) or domain in NEEDED_FORMS or APICRYPT_NATIVE.match(domain))
    }


@pytest.mark.requirement("DIR-32")
def test_no_national_file_is_in_the_repository() -> None:
    named = [path.name for path in tracked() if NATIONAL_FILE.search(path.name)]
    assert named == []
    big = [path.name for path in tracked() if path.is_file() and path.stat().st_size > 2_000_000]
    assert big == []


@pytest.mark.requirement("DIR-32")
def test_every_address_is_of_an_invented_domain() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {domain}"
        for path, text in texts()
        for domain in real_domains(text)
    }
    assert found == set()


def test_the_guard_sees_a_real_domain() -> None:
    assert real_domains("x " + "contact@" + "ch-lyon.fr y") == {"ch-lyon.fr"}


def test_no_file_names_a_package_registry() -> None:
    found = [path.name for path, text in texts() if REGISTRY_HOST.search(text)]
    assert found == []


def test_no_file_names_a_path_of_the_machine() -> None:
    machine = re.compile(r"(?<![\w.])/(?:work|farm)/")
    found = [
        path.name
        for path, text in texts()
        if machine.search(text) and path.name != Path(__file__).name
    ]
    assert found == []
