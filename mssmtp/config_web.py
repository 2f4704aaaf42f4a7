"""Settings of the pages that holders of accounts open in a browser."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from mssmtp.config_base import Section
from mssmtp.config_tokens import HttpsUrl
from mssmtp.config_trust import PkiSettings


class CardSettings(Section):
    """CPx cards at the pages (SEED-12): listen.card asks browsers for a certificate."""

    anchors_file: Path = Field(
        description="PEM: root and intermediate that issue the cards (OP-07); for a CPS"
        " ACR-FO.cer and ACI-FO-PP.cer of IGC-Santé."
    )
    crl_urls: tuple[str, ...] = Field(
        (), description="CRLs to download: of each authority in anchors_file, the root too."
    )
    crl_refresh: timedelta = Field(timedelta(days=1), description="How often CRLs are fetched.")
    ocsp: Literal["off", "ask"] = Field(
        "off",
        description="Ask the responder of the card when no CRL in force says anything; a card that"
        " neither speaks of is refused.",
    )
    ocsp_url: str | None = Field(
        None, description="Responder to ask; the one the card names when absent."
    )
    url: HttpsUrl | None = Field(
        None,
        description="How browsers reach listen.card; the host of notices.portal_url with its port"
        " when absent.",
    )
    max_version: Literal["1.2", "1.3"] = Field(
        "1.3",
        description="1.2 for cards whose software cannot sign as TLS 1.3 wants it (RSA-PSS).",
    )

    @model_validator(mode="after")
    def _is_checked(self) -> CardSettings:
        if not self.crl_urls and self.ocsp == "off":
            raise ValueError("no card could be checked: name crl_urls, or set ocsp to ask (OP-09)")
        return self

    def reached(self, portal_url: str, port: int) -> str:
        """How browsers reach listen.card, without a slash at the end."""
        host = urlsplit(portal_url).hostname or ""
        host = f"[{host}]" if ":" in host else host
        return (self.url or f"https://{host}:{port}").rstrip("/")

    @property
    def pki(self) -> PkiSettings:
        """The same, as those who fetch CRLs and ask responders want it."""
        return PkiSettings(
            anchors_file=self.anchors_file,
            crl_urls=self.crl_urls,
            crl_refresh=self.crl_refresh,
            ocsp=self.ocsp,
            ocsp_url=self.ocsp_url,
        )


class WebSettings(Section):
    """The pages of holders, on listen.web; notices.portal_url is how they are reached."""

    certificate_file: Path | None = Field(
        None,
        description="PEM: certificate of the host of notices.portal_url that browsers trust, then"
        " its issuers. SIGHUP takes a renewed one.",
    )
    key_file: Path | None = Field(None, description="PEM private key; mode 0600.")
    session_idle: timedelta = Field(
        timedelta(minutes=30),
        ge=timedelta(minutes=1),
        le=timedelta(hours=8),
        description="A session ends when nothing was asked for so long.",
    )
    session_length: timedelta = Field(
        timedelta(hours=8),
        ge=timedelta(minutes=5),
        le=timedelta(hours=24),
        description="And after this in any case.",
    )
    connections: int = Field(500, ge=1, description="Open connections per worker.")
    connections_per_address: int = Field(
        100,
        ge=1,
        description="Of these, from one IPv4 address or one /64 of IPv6: a whole hospital may be"
        " behind it.",
    )
    posts_per_minute: int = Field(
        300,
        ge=1,
        description="Forms that one IPv4 address, or one /64 of IPv6, may send to one worker in a"
        " minute.",
    )
    cards: CardSettings | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> WebSettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together; name both")
        return self
