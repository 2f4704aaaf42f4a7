"""Foreign ManageSieve clients: Debian's sieve-connect (Perl) and sievelib (Python)."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from tests.imap_server.rig import PASSWORD, ZOE
from tests.managesieve.conftest import House
from tests.space import program

SCRIPT = 'require ["fileinto", "mailbox"];\nfileinto :create "Suivi";\n'
_DEBIAN_PYTHON = "/usr/bin/python3"
_HAS_SIEVELIB = Path("/usr/lib/python3/dist-packages/sievelib").is_dir()
_SIEVELIB = """
import sys
from sievelib.managesieve import Client
client = Client("127.0.0.1", int(sys.argv[1]))
password = sys.stdin.read()
assert client.connect(sys.argv[2], password, starttls=True, authmech=sys.argv[3]), client.errmsg
assert "imap4flags" in client.get_sieve_capabilities()
assert client.havespace("absence", 1000), client.errmsg
assert client.putscript("absence", 'require "vacation";\\nvacation "Absente";\\n'), client.errmsg
assert not client.putscript("faux", "fileinto;")
assert "ligne 1" in client.errmsg.decode(), client.errmsg
assert client.setactive("absence"), client.errmsg
assert client.listscripts() == ("absence", []), client.listscripts()
assert "vacation" in client.getscript("absence")
assert client.renamescript("absence", "conges"), client.errmsg
assert client.setactive(""), client.errmsg
assert client.deletescript("conges"), client.errmsg
client.logout()
print("done")
"""


async def run(place: Path, said: str, *command: str) -> str:
    """A program to its end; `said` is on its standard input."""
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        input=said,
        capture_output=True,
        text=True,
        timeout=45,
        cwd=place,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(place)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.end_to_end
async def test_sieve_connect_uploads_activates_lists_and_fetches(
    house: House, tmp_path: Path
) -> None:
    (tmp_path / "tri.sieve").write_text(SCRIPT)
    async with house.door() as port:

        async def connect(*wanted: str) -> str:
            """The password is never on the command line."""
            command = [program("sieve-connect"), "--server", "127.0.0.1", "--port", str(port)]
            command += ["--user", ZOE, "--notlsverify", "--passwordfd", "0", *wanted]
            return await run(tmp_path, PASSWORD + "\n", *command)

        await connect("--localsieve", "tri.sieve", "--remotesieve", "tri", "--upload")
        await connect("--remotesieve", "tri", "--activate")
        assert '"tri" ACTIVE' in await connect("--list")
        await connect("--remotesieve", "tri", "--localsieve", "back.sieve", "--download")
        assert (tmp_path / "back.sieve").read_text().strip() == SCRIPT.strip()
        await connect("--deactivate")
        await connect("--remotesieve", "tri", "--delete")
        assert await connect("--list") == ""


@pytest.mark.end_to_end
@pytest.mark.skipif(not _HAS_SIEVELIB, reason="python3-sievelib is not installed")
async def test_sievelib_keeps_scripts(house: House, tmp_path: Path) -> None:
    async with house.door() as port:
        for mechanism in ("PLAIN", "LOGIN"):
            command = [_DEBIAN_PYTHON, "-c", _SIEVELIB, str(port), ZOE, mechanism]
            assert await run(tmp_path, PASSWORD, *command) == "done\n"
