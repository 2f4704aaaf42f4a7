"""A private Postfix of Debian: what is the same whatever part it plays."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

from tests.space import program

_MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = {home}/maillog
maillog_file_prefixes = {home}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_dns_support_level = disabled
smtp_host_lookup = native
mydestination =
mynetworks =
alias_maps =
message_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_base = {home}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""
_MASTER_CF = """\
127.0.0.1:{mx} inet n - n - - smtpd
127.0.0.1:{inside} inet n - n - - smtpd
    -o smtpd_tls_security_level=none
    -o smtpd_tls_req_ccert=no
    -o mynetworks=127.0.0.0/8
    -o smtpd_relay_restrictions=permit_mynetworks,reject
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


def lay(home: Path, main_cf: str, mx: int, inside: int) -> None:
    """Its directories and settings; `main_cf` is what this one has of its own.

    `mx`: the door for other servers, `inside`: that for its own users, without TLS.
    """
    user = pwd.getpwnam("postfix")
    for name in ("etc", "queue", "data", "mail"):
        (home / name).mkdir(mode=0o755)
    for name in ("data", "mail"):
        os.chown(home / name, user.pw_uid, user.pw_gid)
    common = _MAIN_CF.format(home=home, uid=user.pw_uid, gid=user.pw_gid)
    (home / "etc/main.cf").write_text(common + main_cf)
    (home / "etc/master.cf").write_text(_MASTER_CF.format(mx=mx, inside=inside))


def command(home: Path, *arguments: str) -> None:
    """`postfix start`, `stop`…"""
    subprocess.run(
        [program("postfix"), "-c", str(home / "etc"), *arguments],
        check=True,
        capture_output=True,
        timeout=60,
    )
