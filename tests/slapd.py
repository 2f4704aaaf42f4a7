"""A real slapd of a hospital: two people, one colleague with an odd name, our own account."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from mssmtp.demo.authority import Identity
from tests.free_ports import free_ports

BASE = "ou=personnes,dc=chu-g,dc=test"
READER, READER_PASSWORD = f"cn=mssmtp,{BASE}", "lecteur-de-l-annuaire"
PASSWORDS = {"anne": "mot-de-passe-d-anne", "luc": "mot-de-passe-de-luc"}
ODD = "o)(uid=*"
"""Somebody's name, as far as the directory is concerned."""
_START_S = 20.0


@dataclass(frozen=True)
class Slapd:
    """Where it listens. `anchors` verify its certificate."""

    port: int
    port_tls: int
    anchors: Path


@contextmanager
def running(directory: Path, identity: Identity, anchors_pem: bytes) -> Iterator[Slapd]:
    program = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None:
        pytest.skip("slapd is not installed")
    files = identity.write(directory, "slapd")
    anchors = directory / "anchors.pem"
    anchors.write_bytes(anchors_pem)
    data = directory / "data"
    data.mkdir()
    settings = directory / "slapd.conf"
    settings.write_text(
        "include /etc/ldap/schema/core.schema\n"
        "include /etc/ldap/schema/cosine.schema\n"
        "include /etc/ldap/schema/inetorgperson.schema\n"
        "modulepath /usr/lib/ldap\nmoduleload back_mdb\n"
        f"pidfile {directory}/slapd.pid\n"
        f"TLSCACertificateFile {anchors}\n"
        f"TLSCertificateFile {files.certificate_file}\nTLSCertificateKeyFile {files.key_file}\n"
        "security simple_bind=64\n"
        'database mdb\nmaxsize 1048576\nsuffix "dc=chu-g,dc=test"\n'
        f"directory {data}\n"
        f'access to attrs=userPassword by anonymous auth\naccess to * by dn="{READER}" read\n'
    )
    subprocess.run(
        [shutil.which("slapadd", path="/usr/sbin:/usr/bin") or "slapadd", "-f", str(settings)],
        input=_entries(),
        text=True,
        check=True,
        capture_output=True,
    )
    plain, tls = free_ports(2)
    urls = f"ldap://127.0.0.1:{plain}/ ldaps://127.0.0.1:{tls}/"
    process = subprocess.Popen(
        [program, "-d", "0", "-f", str(settings), "-h", urls],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(process, plain)
        yield Slapd(plain, tls, anchors)
    finally:
        process.terminate()
        process.wait(timeout=_START_S)


def _entries() -> str:
    lines = [
        "dn: dc=chu-g,dc=test\nobjectClass: dcObject\nobjectClass: organization\n"
        "o: CHU\ndc: chu-g\n",
        f"dn: {BASE}\nobjectClass: organizationalUnit\nou: personnes\n",
        f"dn: {READER}\nobjectClass: person\nobjectClass: simpleSecurityObject\ncn: mssmtp\n"
        f"sn: mssmtp\nuserPassword: {READER_PASSWORD}\n",
    ]
    for name, password in PASSWORDS.items():
        lines.append(
            f"dn: uid={name},{BASE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\n"
            f"sn: {name}\nmail: {name}@chu-g.test\nuserPassword: {password}\n"
        )
    for number in (1, 2):
        lines.append(
            f"dn: uid=deux{number},{BASE}\nobjectClass: inetOrgPerson\nuid: deux{number}\n"
            f"cn: deux\nsn: deux\nmail: deux@chu-g.test\nuserPassword: meme-mot-de-passe\n"
        )
    return "\n".join(lines)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError("slapd did not start")
