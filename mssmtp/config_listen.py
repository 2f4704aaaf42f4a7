"""Settings of the doors: where each listens, and where it is reached."""

from __future__ import annotations

from ipaddress import ip_address

from pydantic import Field, field_validator

from mssmtp.config_base import Section


class Endpoint(Section):
    """Where a door listens."""

    host: str = Field("127.0.0.1", description="Address to bind.")
    port: int = Field(description="TCP port.", ge=0, le=65535)
    published_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="The port that mail programs are told, where what stands in front has another.",
    )

    @property
    def reached_at(self) -> int:
        """The port as it is reached from outside."""
        return self.port if self.published_port is None else self.published_port


class ListenSettings(Section):
    """The doors. A door that is not named is closed."""

    operators: Endpoint | None = Field(None, description="Operator door (OP-02), normally port 25.")
    submission: Endpoint | None = Field(None, description="Submission with STARTTLS, port 587.")
    submissions: Endpoint | None = Field(None, description="Submission over TLS, port 465 (CL-04).")
    gateways: Endpoint | None = Field(
        None, description="Hospitals' mail servers that relay through us, STARTTLS ([[gateways]])."
    )
    appliances: Endpoint | None = Field(
        None, description="Scanners and analysers of [[machines]], STARTTLS; closed by default."
    )
    appliances_tls: Endpoint | None = Field(None, description="The same over TLS.")
    app_submission: Endpoint | None = Field(
        None, description="Systems, by certificate (CL-16): submission with STARTTLS."
    )
    app_submissions: Endpoint | None = Field(None, description="The same over TLS.")
    app_imap: Endpoint | None = Field(None, description="Their IMAP with STARTTLS.")
    app_imaps: Endpoint | None = Field(None, description="Their IMAP over TLS.")
    imap: Endpoint | None = Field(None, description="IMAP with STARTTLS, port 143.")
    imaps: Endpoint | None = Field(None, description="IMAP over TLS, port 993 (CL-04).")
    sieve: Endpoint | None = Field(
        None, description="ManageSieve (RFC 5804) with STARTTLS, port 4190."
    )
    admin: Endpoint | None = Field(
        None,
        description="Administration over TLS, for who was named with a certificate of the anchors"
        " of pki (`mssmtp admin add --certificate`). The socket in the home is always open.",
    )
    web: Endpoint | None = Field(
        None,
        description="The holders' pages over TLS ([web]): port 443, or another behind a relay of"
        " connections.",
    )
    card: Endpoint | None = Field(
        None,
        description="Where browsers show a CPx card ([web.cards]), such as port 8443; the pages"
        " themselves never ask for one.",
    )
    metrics: Endpoint | None = Field(None, description="Prometheus metrics, on loopback only.")

    @field_validator("metrics")
    @classmethod
    def _on_loopback(cls, endpoint: Endpoint | None) -> Endpoint | None:
        """ATT-38: nobody logs in to read the metrics, so nobody else may reach them."""
        if endpoint is not None and not ip_address(endpoint.host).is_loopback:
            raise ValueError("metrics are served on a loopback address only, such as 127.0.0.1")
        return endpoint
