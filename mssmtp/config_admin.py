"""Settings of the administration API."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from mssmtp.config_base import Section


class AdminSettings(Section):
    """Who administers from this machine without being the server's user (docs/admin.md)."""

    socket: Path | None = Field(
        None,
        description="A second Unix socket, such as /run/mssmtp/admin.sock, which every user of the"
        " machine may open: the kernel says who does, and only those of `mssmtp admin add --user`"
        " are served. The directory must be the server's own.",
    )
