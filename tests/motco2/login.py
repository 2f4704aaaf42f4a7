"""Before TLS, logging in, and being refused (OP-81, CL-20, CL-31)."""

from __future__ import annotations

import imaplib
import smtplib
from base64 import b64encode
from collections.abc import Iterator

from tests.motco2.cases import Case, Wrong, expect, said
from tests.motco2.target import Target


def cases() -> Iterator[Case]:
    """In the order a client meets them."""
    group = "login"
    yield Case(group, "IMAP in clear: LOGINDISABLED, and LOGIN is refused", "OP-81", _imap_clear)
    yield Case(group, "SMTP in clear: no AUTH is offered, MAIL is refused", "OP-81", _smtp_clear)
    yield Case(group, "IMAP LOGIN and AUTHENTICATE PLAIN, initial response or not", "CL-31", _imap)
    yield Case(group, "SMTP AUTH PLAIN and AUTH LOGIN", "CL-31", _smtp)
    yield Case(group, "MAIL before AUTH is refused", "OP-81", _mail_first)
    yield Case(
        group,
        "IMAP: a wrong password is answered like an unknown box, and the connection stays",
        "CL-20",
        _imap_wrong,
    )
    yield Case(group, "SMTP: the same", "CL-20", _smtp_wrong)


def _imap_clear(target: Target) -> str:
    with target.imap_session(tls=False) as client:
        names = client.capabilities
        expect("LOGINDISABLED" in names, names)
        expect(not any(name.startswith("AUTH=") for name in names), names)
        try:
            client.login(target.box.address, target.box.password)
        except imaplib.IMAP4.error as error:
            expect("PRIVACYREQUIRED" in str(error), error)
            return str(error)
        raise Wrong("LOGIN passes in clear")


def _smtp_clear(target: Target) -> str:
    with target.smtp_session(tls=False) as client:
        expect("auth" not in client.esmtp_features, client.esmtp_features)
        reply = client.mail(target.box.address)
        expect(reply[0] == 530, said(reply))
        return said(reply)


def _plain(target: Target) -> bytes:
    return f"\0{target.box.address}\0{target.box.password}".encode()


def _imap(target: Target) -> str:
    with target.imap_session(target.box):
        pass
    with target.imap_session() as client:
        client.authenticate("PLAIN", lambda _: _plain(target))
    with target.imap_session() as client:
        encoded = b64encode(_plain(target)).decode()
        answer, _ = client._simple_command("AUTHENTICATE", "PLAIN", encoded)
        expect(answer == "OK", answer)
    return "three ways in"


def _smtp(target: Target) -> str:
    with target.smtp_session() as client:
        found = client.esmtp_features.get("auth", "")
        for method in ("plain", "login"):
            expect(method.upper() in found, found)
    for method in ("plain", "login"):
        with target.smtp_session() as client:
            client.user, client.password = target.box.address, target.box.password
            reply = client.auth(method, getattr(client, f"auth_{method}"))
            expect(reply[0] == 235, said(reply))
    return f"235 twice; offered:{found}"


def _mail_first(target: Target) -> str:
    with target.smtp_session() as client:
        reply = client.mail(target.box.address)
        expect(reply[0] == 530, said(reply))
        return said(reply)


def _imap_wrong(target: Target) -> str:
    told = []
    with target.imap_session() as client:
        for address in (target.box.address, f"inconnu.{target.box.address}"):
            try:
                client.login(address, "faux-mot-de-passe")
            except imaplib.IMAP4.error as error:
                told.append(str(error))
        expect(len(told) == 2 and told[0] == told[1], told)
        expect("AUTHENTICATIONFAILED" in told[0], told)
        expect(client.noop()[0] == "OK", "the connection is gone")
    return told[0]


def _smtp_wrong(target: Target) -> str:
    told = []
    with target.smtp_session() as client:
        for address in (target.box.address, f"inconnu.{target.box.address}"):
            try:
                client.login(address, "faux-mot-de-passe")
            except smtplib.SMTPAuthenticationError as error:
                told.append(f"{error.smtp_code} {error.smtp_error!r}")
        expect(len(told) == 2 and told[0] == told[1], told)
        expect(told[0].startswith("535") and "5.7.8" in told[0], told)
        expect(client.noop()[0] == 250, "the connection is gone")
    return told[0]
