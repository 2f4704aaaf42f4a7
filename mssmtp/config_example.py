"""The commented example file, generated from the settings' own descriptions."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mssmtp.config import Endpoint, Settings
from mssmtp.config_base import Section

Value = str | int | bool | tuple[str, ...] | dict[str, int]

IGC_SANTE_CRLS = (
    "http://igc-sante.esante.gouv.fr/CRL/ACR-EL.crl",
    "http://igc-sante.esante.gouv.fr/CRL/ACI-EL-ORG.crl",
)
"""Of the root, which answers for the intermediate, and of the Organisations intermediate."""

# What a real operator fills in; every other setting is shown commented with its default.
OPERATOR_VALUES: dict[str, Value] = {
    "operator.name": "hopital-valmont",
    "operator.host_name": "mx.ch-valmont.mssante.example",
    "operator.domains": "ch-valmont.mssante.example",
    "operator.responsible_contact": "DSI du CH de Valmont, dsi@ch-valmont.example",
    "operator.incident_contact": "01 00 00 00 01, incidents@autorite.example",
    "operator.support_contact": "01 00 00 00 00, support@ch-valmont.example",
    "store.home": "/var/lib/mssmtp",
    "store.master_key_file": "/etc/mssmtp/keys/master.key",
    "listen.operators": "0.0.0.0:25",
    "listen.submission": "0.0.0.0:587",
    "listen.submissions": "0.0.0.0:465",
    "listen.imap": "0.0.0.0:143",
    "listen.imaps": "0.0.0.0:993",
    "listen.metrics": "127.0.0.1:9125",
    "tls.operators.certificate_file": "/etc/mssmtp/certs/operators.pem",
    "tls.operators.key_file": "/etc/mssmtp/certs/operators.key",
    "tls.users.certificate_file": "/etc/mssmtp/certs/users.pem",
    "tls.users.key_file": "/etc/mssmtp/certs/users.key",
    "pki.anchors_file": "/etc/mssmtp/certs/igc-sante.pem",
    "pki.crl_urls": IGC_SANTE_CRLS,
}

POSTGRESQL_VALUES: dict[str, Value] = OPERATOR_VALUES | {
    # Two servers, one of them a standby: whichever can be written to is the one.
    "store.database": "postgresql://mssmtp@db1.ch-valmont.example,db2.ch-valmont.example/mssmtp"
    "?sslmode=verify-full&target_session_attrs=read-write",
    "store.database_password_file": "/etc/mssmtp/keys/database.password",
}
"""The same operator with its rows in PostgreSQL."""

GATEWAY_VALUES: dict[str, Value] = OPERATOR_VALUES | {
    "listen.gateways": "0.0.0.0:2525",
    "gateways.name": "chu-valmont",
    "gateways.domains": "ch-valmont.mssante.example",
    "gateways.client_names": "CN=relais.ch-valmont.example,OU=1690000017,O=CH DE VALMONT,"
    "ST=Rhône (69),C=FR",
    "gateways.addresses": "192.0.2.10/32",
    "gateways.aliases_file": "gateways/chu-valmont.csv",
    "gateways.inbound": "forward",
    "gateways.hosts": "relais.ch-valmont.example:25",
}
"""The same operator with a hospital's own mail server in front of one of its domains."""


def render(values: Mapping[str, Value]) -> str:
    """TOML text: every setting with its description; those in `values` are set.

    Text given for a list setting is its one element; for an endpoint it is `host:port`.
    """
    head = [
        "# Settings of mssmtp. Written by `mssmtp init` and `mssmtp config-example`.",
        "# A commented line shows the default. Paths may be relative to this file.",
    ]
    return "\n".join([*head, *_section(Settings, "", values)]) + "\n"


def _section(model: type[BaseModel], prefix: str, values: Mapping[str, Value]) -> Iterator[str]:
    nested: list[tuple[str, str, type[BaseModel]]] = []
    for name, info in model.model_fields.items():
        inner = _model_of(info)
        if inner is not None and inner is not Endpoint:
            nested.append((name, info.description or str(inner.__doc__).splitlines()[0], inner))
            continue
        yield ""
        yield from _comment(info.description or "")
        key = f"{prefix}{name}"
        yield _set(name, info, values[key]) if key in values else _default(name, info)
    for name, title, inner in nested:
        yield ""
        yield from _comment(title)
        key = f"{prefix}{name}"
        is_set = any(each.startswith(f"{key}.") for each in values)
        if get_origin(model.model_fields[name].annotation) is tuple:
            yield f"[{key}]" if is_set else f"# [[{key}]]"
        else:
            is_optional = model.model_fields[name].default is None
            yield f"# [{key}]" if is_optional and not is_set else f"[{key}]"
        yield from _section(inner, f"{prefix}{name}.", values)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 96, initial_indent="# ", subsequent_indent="# ")


def _set(name: str, info: FieldInfo, value: Value) -> str:
    if not isinstance(value, str):
        return f"{name} = {_toml(value)}"
    if _model_of(info) is Endpoint:
        host, _, port = value.rpartition(":")
        return f"{name} = {{ host = {json.dumps(host)}, port = {port} }}"
    if get_origin(info.annotation) is tuple:
        return f"{name} = [{json.dumps(value)}]"
    return f"{name} = {json.dumps(value)}"


def _default(name: str, info: FieldInfo) -> str:
    if info.is_required():
        return f"# {name} = (to be set)"
    default = info.get_default(call_default_factory=True, validated_data={})
    if default is None:
        shown = '{ host = "127.0.0.1", port = … }' if _model_of(info) is Endpoint else "(none)"
        return f"# {name} = {shown}"
    return f"# {name} = {_toml(default)}"


def _toml(value: object) -> str:
    if isinstance(value, timedelta):
        # pydantic reads an ISO 8601 duration and a number of seconds; seconds are plain TOML.
        return str(int(value.total_seconds()))
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path):
        return json.dumps(str(value))
    if isinstance(value, str | int | float):
        return json.dumps(value)
    raise TypeError(f"no TOML form for {type(value).__name__}")


def _model_of(info: FieldInfo) -> type[BaseModel] | None:
    annotation = info.annotation
    if get_origin(annotation) in (Union, UnionType):
        annotation = next((a for a in get_args(annotation) if a is not type(None)), None)
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]  # a list of tables is shown as one table
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return None
