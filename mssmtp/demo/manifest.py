"""manifest.json: the public interface of the demo, for other vendors' tests and ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from mssmtp.config import Endpoint
from mssmtp.demo.authority import CertificateFiles
from mssmtp.demo.portal import USUAL
from mssmtp.demo.space import (
    CARD_OFFSET,
    CARD_PIN,
    DNS_OFFSET,
    GUEST,
    GUEST_OFFSET,
    GUEST_SUBJECT,
    HOSPITAL,
    HOSPITAL_SUBJECT,
    LIST_NAME,
    LIST_OFFSET,
    PSC_SOFTWARE,
    SYSTEM_SUBJECT,
    Laid,
    Space,
    psc_secret,
    psc_url,
)

State = Literal["ready", "stopped"]
Json = dict[str, object]

FILE_NAME = "manifest.json"


def write(space: Space, state: State) -> Path:
    """Write the manifest so that a reader sees all of it or none."""
    target = space.directory / FILE_NAME
    fresh = target.with_suffix(".new")
    fresh.write_text(json.dumps(describe(space, state), ensure_ascii=False, indent=1), "utf-8")
    fresh.replace(target)
    return target


def describe(space: Space, state: State) -> Json:
    """The manifest as a value."""
    return {
        "version": 1,
        "state": state,
        "directory": str(space.directory),
        "ca_file": str(space.ca_file),
        "crl_file": str(space.crl_file),
        "whitelist": {
            "file": str(space.published / LIST_NAME),
            "url": f"https://127.0.0.1:{space.base_port + LIST_OFFSET}/{LIST_NAME}",
        },
        "dns": {"host": "127.0.0.1", "port": space.base_port + DNS_OFFSET},
        "psc": {
            "issuer": psc_url(space.base_port),
            "configuration_url": f"{psc_url(space.base_port)}/.well-known/openid-configuration",
            "client_id": PSC_SOFTWARE,
            "client_secret_file": str(psc_secret(space.directory, PSC_SOFTWARE)),
        },
        "portal": {
            "url": space.operator("hopital-a").settings.notices.portal_url,
            "usual_address": str(USUAL),
            "service_mail": str(space.service_mail),
            "card": {
                **_files(space.card),
                "card_file": str(space.card_file),
                "pin": CARD_PIN,
                "url": f"https://localhost:{space.base_port + CARD_OFFSET}",
            },
        },
        "test_certificates": {name: _files(files) for name, files in space.misfits.items()},
        "operators": [_operator(laid) for laid in space.operators],
        "guest": {
            "domains": [GUEST],
            **_files(space.guest),
            "dn": GUEST_SUBJECT.text,
            "smtp": {"host": "127.0.0.1", "port": space.base_port + GUEST_OFFSET},
        },
        "hospital": {
            "domains": [HOSPITAL],
            **_files(space.hospital),
            "dn": HOSPITAL_SUBJECT.text,
        },
        "system": {**_files(space.system), "dn": SYSTEM_SUBJECT.text},
    }


def _files(files: CertificateFiles) -> Json:
    return {"certificate_file": str(files.certificate_file), "key_file": str(files.key_file)}


def _operator(laid: Laid) -> Json:
    listen = laid.settings.listen
    return {
        "name": laid.plan.name,
        "domains": list(laid.plan.domains),
        "listed": bool(laid.plan.listed),
        "home": str(laid.config_file.parent),
        "config_file": str(laid.config_file),
        **_files(laid.certificate),
        "dn": laid.plan.subject.text,
        "smtp": {"host": _host(listen.operators), "port": _port(listen.operators)},
        "submission": {
            "host": _host(listen.submission),
            "port_starttls": _port(listen.submission),
            "port_tls": _port(listen.submissions),
        },
        "imap": {
            "host": _host(listen.imap),
            "port_starttls": _port(listen.imap),
            "port_tls": _port(listen.imaps),
        },
        "app_submission": {
            "host": _host(listen.app_submission),
            "port_starttls": _port(listen.app_submission),
            "port_tls": _port(listen.app_submissions),
        },
        "app_imap": {
            "host": _host(listen.app_imap),
            "port_starttls": _port(listen.app_imap),
            "port_tls": _port(listen.app_imaps),
        },
        "sieve": {"host": _host(listen.sieve), "port_starttls": _port(listen.sieve)},
        "accounts": [
            {
                "address": str(login.bal.address),
                "login": str(login.bal.address),
                "password": login.password,
                "bal_type": login.bal.type.value,
                "state": login.bal.person.value,
                "national_id": login.bal.national_id,
            }
            for login in laid.logins
        ],
    }


def _host(endpoint: Endpoint | None) -> str | None:
    return endpoint.host if endpoint else None


def _port(endpoint: Endpoint | None) -> int | None:
    return endpoint.port if endpoint else None
