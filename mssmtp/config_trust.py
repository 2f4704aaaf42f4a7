"""Settings of certificates, TLS, anchors, revocation and the signed list."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator

from mssmtp.config_base import MEBI, Section, several


class CertificateSettings(Section):
    """A certificate with its full chain and its key. The files are watched: no restart."""

    certificate_file: Path = Field(description="PEM: own certificate, then its issuers.")
    key_file: Path = Field(description="PEM private key; mode 0600.")


class TlsSettings(Section):
    """One TLS setting for every listener and client (OP-04, OP-05)."""

    min_version: Literal["1.2", "1.3"] = Field("1.2", description="Floor; below 1.2 is refused.")
    ciphers: tuple[str, ...] = Field(
        (
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-RSA-CHACHA20-POLY1305",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
        ),
        description="TLS 1.2 suites by OpenSSL name; only ECDHE with AES-GCM or ChaCha20 pass.",
    )
    groups: tuple[str, ...] = Field(
        ("X25519", "P-256", "P-384"),
        description="Key exchange groups. Where X25519 stands alone, clients of ours under Debian"
        " 12's Python offer it first, and others behind it.",
    )
    handshake_timeout_s: float = Field(20.0, gt=0, description="Time for one handshake.")
    refuse_in_handshake: bool = Field(
        False,
        description="Operator door: end the handshake of a peer that is refused, in place of"
        " telling it why by an SMTP reply.",
    )
    operators: Annotated[tuple[CertificateSettings, ...], BeforeValidator(several)] = Field(
        min_length=1,
        description="Presented between operators, both roles. Several: one [[tls.operators]] each;"
        " the one that the whitelist names for the domain is presented (OP-20).",
    )
    users: CertificateSettings = Field(description="Presented by 587, 465, 143 and 993 (CL-08).")


class PkiSettings(Section):
    """Anchors and revocation of the trust space (OP-07, OP-08, OP-09)."""

    anchors_file: Path = Field(description="PEM: root and intermediates of IGC-Santé.")
    crl_urls: tuple[str, ...] = Field(
        (), description="CRLs to download: of each authority in anchors_file, roots too."
    )
    crl_refresh: timedelta = Field(timedelta(days=1), description="How often CRLs are fetched.")
    ocsp: Literal["off", "stapled", "ask"] = Field(
        "off",
        description="Beside the CRLs: off; stapled, an answer a server sends in its handshake"
        " counts too; ask, a responder is asked as well when no CRL in force says anything.",
    )
    ocsp_url: str | None = Field(
        None, description="Responder to ask; the one the certificate names when absent."
    )
    require_eku: bool = Field(False, description="Refuse a certificate without any EKU (WT-44).")
    users_anchors_file: Path | None = Field(
        None,
        description="PEM: authorities of the certificate of the user doors, when they are others"
        " than those of anchors_file (CL-08).",
    )
    space: Literal["production", "test"] | None = Field(
        None,
        description="Trust space, normally told by the names of the anchors. Authorities, keys and"
        " homes of the other one are refused (OP-100).",
    )


class WhitelistSettings(Section):
    """The signed national list (OP-22 to OP-29)."""

    url: str = Field(
        "https://espacedeconfiance.mssante.fr/listeblanchemssante.xml",
        description="Where the list is fetched.",
    )
    https_anchors_file: Path | None = Field(
        None, description="Anchors of the list server; the trust space's own when absent."
    )
    signer_subject: str = Field(
        "CN=alb.mssante.fr", description="Pin: RDN the signer's subject must hold (OP-25)."
    )
    refresh: timedelta = Field(timedelta(minutes=60), description="Fetch period, ± 10 %.")
    warn_after: timedelta = Field(timedelta(hours=24), description="Warning when older (OP-27).")
    alarm_after: timedelta = Field(timedelta(hours=72), description="Alarm when older (OP-27).")
    max_octets: int = Field(20 * MEBI, description="Largest list that is read (OP-23).")
    first_within: timedelta = Field(
        timedelta(seconds=5), description="How long a first start waits for a list at most."
    )
    shrink_percent: float = Field(
        5.0,
        ge=0,
        le=100,
        description="A list that loses more of its rows or domains, or our own entry, is held"
        " until `mssmtp trust confirm`.",
    )
    grace_lists: int = Field(
        0,
        ge=0,
        le=5,
        description="For how many further lists a removed domain or name stays valid (OP-34).",
    )
    proxy: str | None = Field(
        None,
        description="Proxy for the list and the CRLs, as http://proxy.example:3128 or https://…,"
        " with user@ in front of the name where it asks for one.",
    )
    proxy_password_file: Path | None = Field(
        None, description="File that holds that user's password, mode 0600."
    )
    proxy_anchors_file: Path | None = Field(
        None, description="Anchors of an https proxy; those of the list server when absent."
    )

    @field_validator("url")
    @classmethod
    def _over_https(cls, url: str) -> str:
        """OP-22: nobody on the way may choose which of the signed lists we see."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError("the list is fetched over https only")
        return url

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.path not in ("", "/")
        ):
            raise ValueError("a proxy is named as http://host:port or https://host:port")
        if parts.password is not None:
            raise ValueError(
                "a password has no place in the settings file:"
                " write it into a file of mode 0600 and name that as whitelist.proxy_password_file"
            )
        return url
