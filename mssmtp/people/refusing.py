"""Why people cannot have what was asked for, in the words of who asks."""

from __future__ import annotations

from mssmtp.errors import ConfigError


class NotAllowed(ConfigError):
    """A rule of people forbids it as things are."""
