"""Settings that are refused whatever else the file says."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mssmtp.config import ListenSettings


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "not an address"])  # noqa: S104
def test_metrics_are_refused_anywhere_but_on_loopback(host: str) -> None:
    with pytest.raises(ValidationError):
        ListenSettings.model_validate({"metrics": {"host": host, "port": 9125}})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_metrics_are_served_on_loopback(host: str) -> None:
    settings = ListenSettings.model_validate({"metrics": {"host": host, "port": 9125}})
    assert settings.metrics is not None
    assert settings.metrics.host == host
