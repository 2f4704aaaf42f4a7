"""Fixtures every room may use."""

from tests.authority import authority, healthy, snapshot

__all__ = ["authority", "healthy", "snapshot"]
