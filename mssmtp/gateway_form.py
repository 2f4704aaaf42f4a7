"""The prerequisites form of a hospital's gateway, and what it becomes in the settings (SEED-82).

Switching on and undoing are edits of one text: a block between two marks, which `undo` takes out
again, octet for octet. Nothing here touches the network.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from pydantic import Field, IPvAnyNetwork, ValidationError

from mssmtp import pki
from mssmtp.config import Endpoint, Settings, load
from mssmtp.config_base import DomainName, Section
from mssmtp.config_senders import HostAndPort
from mssmtp.errors import ConfigError, own_words
from mssmtp.gateways import Gateways
from mssmtp.whole_files import write_whole

FOLDER = "gateways"
"""Beside the settings file: copies of the tables and authorities of each gateway."""
_NAME = r"^[a-z0-9][a-z0-9-]{0,30}$"


class FromHospital(Section):
    """From the hospital to us."""

    certificates: tuple[Path, ...] = Field(
        (), description="PEM: certificate, without its key, of each server that brings mail."
    )
    names: tuple[str, ...] = Field((), description="Or their names, as openssl prints them.")
    addresses: tuple[IPvAnyNetwork, ...] = Field(
        min_length=1, description="Addresses these servers come from."
    )
    xclient: bool = Field(False, description="They may use XCLIENT and XFORWARD.")


class ToHospital(Section):
    """From us to the hospital."""

    mode: Literal["store", "forward", "both", "hold"] = Field(
        "forward", description="store, forward, both or hold."
    )
    hosts: tuple[HostAndPort, ...] = Field((), description="Servers as host:port, best first.")
    certificate_host: str | None = Field(None, description="Host name in their certificate.")
    anchors: Path | None = Field(
        None, description="PEM: authorities of their certificate, when not IGC-Santé."
    )


class Form(Section):
    """The whole form."""

    name: str = Field(pattern=_NAME, description="Short name of the gateway.")
    domains: tuple[DomainName, ...] = Field(min_length=1, description="MSSanté domains behind it.")
    aliases: Path | None = Field(None, description="Table usual;mssante, one pair per line.")
    outbound: FromHospital
    inbound: ToHospital = Field(default_factory=ToHospital)
    listen: Endpoint = Field(
        default_factory=lambda: Endpoint(host="0.0.0.0", port=2525),  # noqa: S104 - for others
        description="Where our gateway door listens, if it does not yet.",
    )
    correspondent: str | None = Field(
        None, description="An MSSanté address elsewhere, for the dry try outbound."
    )


TEMPLATE = """\
# Prerequisites form of a hospital's mail gateway. Filled in by the hospital, then:
#     mssmtp gateway init FORM.toml          tries both directions dry, then switches on
#     mssmtp gateway undo NAME               takes everything back
# Paths may be relative to this file. docs/gateway.md explains each line.

name = "chu-valmont"
domains = ["ch-valmont.mssante.example"]        # MSSanté domains behind the gateway
aliases = "alias.csv"                           # usual;mssante, one pair per line
# correspondent = "someone@another-operator.mssante.example"
# listen = { host = "0.0.0.0", port = 2525 }

[outbound]                                      # from the hospital to us
certificates = ["relais.ch-valmont.pem"]        # without the key
addresses = ["192.0.2.10/32"]
# xclient = false

[inbound]                                       # from us to the hospital
mode = "forward"                                # store, forward, both or hold
hosts = ["relais.ch-valmont.example:25"]
# certificate_host = "relais.ch-valmont.example"
# anchors = "autorites.pem"                     # when its certificate is not of IGC-Santé
"""


def read_form(path: Path) -> Form:
    """The form of `path`, its own paths made absolute. Raises ConfigError."""
    try:
        form = Form.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigError(
            str(path), f"cannot be read ({error.strerror})", "`mssmtp gateway form` prints one."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"is not TOML: {error}", "Correct the line named.") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigError(
            f"{path}: {where}",
            own_words(first["msg"]),
            "`mssmtp gateway form` prints a form to fill in.",
        ) from error
    base = path.resolve().parent

    def at(file: Path | None) -> Path | None:
        return None if file is None else base / file

    certificates = tuple(base / file for file in form.outbound.certificates)
    return form.model_copy(
        update={
            "aliases": at(form.aliases),
            "outbound": form.outbound.model_copy(update={"certificates": certificates}),
            "inbound": form.inbound.model_copy(update={"anchors": at(form.inbound.anchors)}),
        }
    )


def leaf_of(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file. Raises ConfigError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            str(path), f"cannot be read ({error.strerror})", "Put the certificate there."
        ) from error
    except pki.UNREADABLE as error:
        raise ConfigError(str(path), "holds no PEM certificate", "Export it as PEM.") from error


# ---------------------------------------------------------------- the text of the settings


@dataclass(frozen=True, slots=True)
class Draft:
    """Settings with the gateway in them, not in force yet; and the files they name."""

    config: Path
    text: str
    files: dict[Path, bytes]
    settings: Settings


def _marks(name: str) -> tuple[str, str]:
    return f"# gateway {name}: begin\n", f"# gateway {name}: end\n"


def _door_mark(name: str) -> str:
    return f"  # gateway {name}: door\n"


def draft(form: Form, config: Path) -> Draft:
    """The settings of `config` with this gateway. Raises ConfigError when they are not good."""
    before = load(config)
    text = config.read_text("utf-8")
    if any(each.name == form.name for each in before.gateways):
        raise ConfigError(
            f"gateway {form.name}",
            "is in the settings already",
            f"`mssmtp gateway undo {form.name}` takes it out; then init again.",
        )
    folder = config.resolve().parent / FOLDER
    copies: dict[Path, Path] = {}
    lines = list(_block(form, folder, copies))
    files = {target: _octets(source) for target, source in copies.items()}
    begin, end = _marks(form.name)
    if before.listen.gateways is None:
        text = _with_door(form, text, config)
    text = text + ("" if text.endswith("\n") else "\n") + begin + "".join(lines) + end
    try:
        settings = _checked(config, text, files)
        Gateways.load(settings)  # two lines of the table for one address
    except ConfigError as error:
        _forget(files)
        raise _as_given(error, copies | {_trial(config): config}) from error
    return Draft(config, text, files, settings)


def _as_given(error: ConfigError, given: dict[Path, Path]) -> ConfigError:
    """The same, of the files that people know: the others are gone when they look for them."""
    what = error.what
    for written, known in given.items():
        what = what.replace(str(written), str(known))
    return ConfigError(what, error.why, error.remedy)


def unknown(name: str) -> ConfigError:
    """No gateway of the settings has this name."""
    return ConfigError(
        f"gateway {name}", "is not in the settings", "`mssmtp gateway list` prints them."
    )


def _block(form: Form, folder: Path, copies: dict[Path, Path]) -> Iterator[str]:
    names = (*form.outbound.names, *(_name_of(file) for file in form.outbound.certificates))
    values: dict[str, object] = {
        "name": form.name,
        "domains": list(form.domains),
        "client_names": list(dict.fromkeys(names)),
        "addresses": [str(each) for each in form.outbound.addresses],
        "inbound": form.inbound.mode,
        "hosts": list(form.inbound.hosts),
        "xclient": form.outbound.xclient,
    }
    if form.inbound.certificate_host is not None:
        values["certificate_host"] = form.inbound.certificate_host
    for key, source, ending in (
        ("aliases_file", form.aliases, ".csv"),
        ("anchors_file", form.inbound.anchors, ".pem"),
    ):
        if source is not None:
            target = folder / f"{form.name}{ending}"
            copies[target] = source
            values[key] = f"{FOLDER}/{target.name}"
    yield "[[gateways]]\n"
    for key, value in values.items():
        yield f"{key} = {json.dumps(value, ensure_ascii=False)}\n"


def _name_of(file: Path) -> str:
    return pki.printed_name(leaf_of(file).subject)


def _octets(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            str(path), f"cannot be read ({error.strerror})", "The form names it: put it there."
        ) from error


def _with_door(form: Form, text: str, config: Path) -> str:
    line = f'gateways = {{ host = "{form.listen.host}", port = {form.listen.port} }}'
    opened, count = re.subn(
        r"(?m)^\[listen\][^\n]*\n",
        lambda found: found[0] + line + _door_mark(form.name),
        text,
        count=1,
    )
    if not count:
        raise ConfigError(
            str(config), "has no line [listen]", f"Write it so, with {line} below, and try again."
        )
    return opened


def _trial(config: Path) -> Path:
    return config.with_name(f".{config.name}.trial")


def _checked(config: Path, text: str, files: dict[Path, bytes]) -> Settings:
    """What `load` says of the new text, written beside the old one for a moment."""
    trial = _trial(config)
    for target, octets in files.items():
        target.parent.mkdir(mode=0o750, exist_ok=True)
        write_whole(target, octets)
    try:
        write_whole(trial, text.encode("utf-8"))
        return load(trial)
    except BaseException:
        _forget(files)
        raise
    finally:
        trial.unlink(missing_ok=True)


def _forget(files: dict[Path, bytes]) -> None:
    for target in files:
        target.unlink(missing_ok=True)


def abandon(made: Draft) -> None:
    """Leave no trace of a draft that is not switched on."""
    _forget(made.files)


def switch_on(made: Draft) -> None:
    """The settings are the new ones from the next reload on; mode and owner stay."""
    _replace(made.config, made.text)


def undo(name: str, config: Path) -> None:
    """Take the gateway out of the settings, and its files. Raises ConfigError."""
    text = config.read_text("utf-8")
    begin, end = _marks(name)
    start, stop = text.find(begin), text.find(end)
    if start < 0 or stop < start:
        if all(each.name != name for each in load(config).gateways):
            raise unknown(name)
        raise ConfigError(
            f"gateway {name}",
            f"was not written into {config} by `gateway init`",
            "Take its table [[gateways]] out by hand and reload.",
        )
    text = text[:start] + text[stop + len(end) :]
    text = _without_door(name, text)
    settings = _checked(config, text, {})
    _replace(config, text)
    for ending in (".csv", ".pem"):
        if all(each.name != name for each in settings.gateways):
            (config.resolve().parent / FOLDER / f"{name}{ending}").unlink(missing_ok=True)


def _without_door(name: str, text: str) -> str:
    """The door goes with the gateway it was opened for, or stays under the name of another."""
    mark = _door_mark(name)
    others = re.findall(r"(?m)^# gateway ([a-z0-9-]+): begin$", text)
    if others:
        return text.replace(mark, _door_mark(others[0]))
    return re.sub(rf"(?m)^[^\n]*{re.escape(mark)}", "", text)


def _replace(config: Path, text: str) -> None:
    status = config.stat()
    draft_file = config.with_name(f".{config.name}.draft")
    write_whole(draft_file, text.encode("utf-8"))
    draft_file.chmod(status.st_mode & 0o7777)
    draft_file.replace(config)
