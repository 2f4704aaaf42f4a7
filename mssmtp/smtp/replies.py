"""Every reply this room and the SMTP doors give, with when and remedy for docs/errors.md.

Replies of trust, policy, identity and storage live beside their errors. Texts are French (GEN-17);
`render` writes them in ASCII, because a reply has no other octets without SMTPUTF8 (RFC 5321 4.2).
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from mssmtp.errors import (
    INTERNAL,
    BadAddress,
    BadSyntax,
    NonAsciiAddress,
    Reply,
    StorageBehind,
    StorageFull,
    StorageUnavailable,
)

_LINE_OCTETS = 480
"""Text of one reply line; the whole line stays below 512 octets (RFC 5321 4.5.3.1.5)."""

_QUOTES = re.compile(r"«\s?|\s?»")
_TO_ASCII = str.maketrans(
    {"’": "'", "‘": "'", "œ": "oe", "Œ": "OE", "—": "-", "–": "-", "…": "..."}
)


_catalogue: list[tuple[str, Reply, str, str]] = []


def _entry(key: str, reply: Reply, when: str, remedy: str) -> Reply:
    _catalogue.append((key, reply, when, remedy))
    return reply


def all_replies() -> Iterator[tuple[str, Reply, str, str]]:
    """(key, reply, when, remedy) of every refusal of this room and of its doors."""
    yield from _catalogue


def ascii_text(text: str) -> str:
    """`text` without accents, for the wire."""
    quoted = _QUOTES.sub('"', text).translate(_TO_ASCII)
    return unicodedata.normalize("NFKD", quoted).encode("ascii", "ignore").decode("ascii")


@lru_cache(maxsize=256)
def render(reply: Reply) -> bytes:
    """The octets of `reply`: one line, or several when the text is long (RFC 5321 4.2.1).

    Each line repeats both codes (RFC 2034 4).
    """
    return b"".join(_lines(reply))


def _lines(reply: Reply) -> Iterator[bytes]:
    if reply.text.isascii() and reply.text.isprintable() and len(reply.text) <= _LINE_OCTETS:
        parts = [reply.text]  # every acceptance names its envelope: nothing is remembered of it
    else:
        parts = _wrapped(reply.text)
    for number, part in enumerate(parts, 1):
        mark = " " if number == len(parts) else "-"
        codes = f"{reply.enhanced} " if reply.enhanced else ""
        line = f"{reply.code}{mark}{codes}{part}".rstrip()
        yield line.encode("ascii") + b"\r\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(ascii_text(text), _LINE_OCTETS, break_on_hyphens=False) or [""]


# ---------------------------------------------------------------- good news

CLOSING = Reply(221, "2.0.0", "Au revoir.")
HELP = Reply(214, "2.0.0", "Voir RFC 5321.")
NOOP = Reply(250, "2.0.0", "OK")
RESET = Reply(250, "2.0.0", "OK")
READY_FOR_TLS = Reply(220, "2.0.0", "Prêt pour TLS")
LOGGED_IN = Reply(235, "2.7.0", "Authentification réussie")
SENDER_OK = Reply(250, "2.1.0", "Expéditeur accepté")
RECIPIENT_OK = Reply(250, "2.1.5", "Destinataire accepté")
GO_AHEAD = Reply(354, "", "Message, puis <CRLF>.<CRLF>")
CANNOT_VERIFY = Reply(252, "2.5.2", "Vérification impossible ; tentez l'envoi.")


def chunk_taken(size_octets: int) -> Reply:
    """RFC 3030 2: every chunk but the last is acknowledged, and nothing is promised yet."""
    return Reply(250, "2.0.0", f"{size_octets} octets reçus")


def rewritten(address: str) -> Reply:
    """APX-04: a rewritten recipient is named in the reply."""
    return Reply(250, "2.1.5", f"Destinataire accepté ; adresse utilisée : {address}")


DOUBTFUL_PATIENT = Reply(
    250, "2.1.5", "Destinataire accepté ; la clé de ce matricule INS est fausse : vérifiez-le"
)
"""OP-88, where that is no more than a warning."""


PRIORITY_LOWERED = Reply(250, "2.3.6", "0 est la priorité retenue pour ce message")
"""RFC 6710 4: the new value comes first."""


def to_test_domain(domain: str) -> Reply:
    """OP-99: the domain is an ordinary one for the software, and no place for a patient."""
    return Reply(
        250,
        "2.1.5",
        f"Destinataire accepté ; {domain} sert aux essais : aucune donnée réelle de patient",
    )


def accepted(envelope: str) -> Reply:
    """The message is durable; `envelope` finds it again in `explain` and in the proofs."""
    return Reply(250, "2.0.0", f"Message pris en charge, enveloppe {envelope}")


# ---------------------------------------------------------------- order of commands

SAY_HELLO = _entry(
    "smtp.say-hello",
    Reply(503, "5.5.1", "Commencez par EHLO."),
    "A command came before EHLO or HELO, or EHLO was not repeated after STARTTLS.",
    "Repair the client: RFC 5321 4.1.4, RFC 3207 4.2.",
)
TLS_REQUIRED = _entry(
    "smtp.tls-required",
    Reply(530, "5.7.0", "Connexion chiffrée obligatoire ; commencez par STARTTLS."),
    "A command that needs TLS came in clear (OP-03).",
    "Switch on STARTTLS, or TLS on port 465, in the sending software.",
)
LOGIN_REQUIRED = _entry(
    "smtp.login-required",
    Reply(530, "5.7.0", "Authentification obligatoire ; vérifiez le compte de messagerie."),
    "MAIL on the submission door before AUTH.",
    "Enter the login and application password in the account's outgoing server settings.",
)
NESTED_MAIL = _entry(
    "smtp.nested-mail",
    Reply(503, "5.5.1", "Un envoi est déjà en cours ; terminez-le ou envoyez RSET."),
    "A second MAIL without DATA or RSET between.",
    "Repair the client.",
)
MAIL_FIRST = _entry(
    "smtp.mail-first",
    Reply(503, "5.5.1", "Indiquez d'abord l'expéditeur par MAIL."),
    "RCPT or DATA without an accepted MAIL.",
    "Read why MAIL was refused, or repair the client.",
)
NO_RECIPIENT = _entry(
    "smtp.no-recipient",
    Reply(554, "5.5.1", "Aucun destinataire valide ; corrigez les adresses puis renvoyez."),
    "DATA when no recipient was accepted.",
    "Read why each recipient was refused.",
)
IN_CHUNKS = _entry(
    "smtp.in-chunks",
    Reply(503, "5.5.1", "Le message est déjà transmis par BDAT ; terminez-le ou envoyez RSET."),
    "RCPT or DATA between two chunks of a message (RFC 3030 2).",
    "Repair the client.",
)
NOT_IN_TRANSACTION = _entry(
    "smtp.not-in-transaction",
    Reply(503, "5.5.1", "Commande impossible pendant un envoi ; envoyez RSET d'abord."),
    "STARTTLS or AUTH inside a mail transaction (RFC 4954 4).",
    "Repair the client.",
)
TLS_ALREADY = _entry(
    "smtp.tls-already",
    Reply(503, "5.5.1", "La connexion est déjà chiffrée."),
    "STARTTLS a second time.",
    "Repair the client.",
)
LOGIN_ALREADY = _entry(
    "smtp.login-already",
    Reply(503, "5.5.1", "Vous êtes déjà authentifié."),
    "AUTH a second time (RFC 4954 4).",
    "Repair the client.",
)

# ---------------------------------------------------------------- syntax

LINE_TOO_LONG = _entry(
    "smtp.line-too-long",
    Reply(500, "5.5.6", "Ligne de commande trop longue ; vérifiez le logiciel d'envoi."),
    "A command line above limits.command_octets (DEF-02).",
    "Repair the client.",
)
BAD_LINE = _entry(
    "smtp.bad-line",
    Reply(500, "5.5.2", "Ligne de commande mal formée ; vérifiez le logiciel d'envoi."),
    "A command line that is empty, or holds a control character, or ends in a bare LF.",
    "Repair the client: lines end in CRLF (RFC 5321 2.3.8).",
)
UNKNOWN_COMMAND = _entry(
    "smtp.unknown-command",
    Reply(500, "5.5.1", "Commande inconnue."),
    "A verb this server does not have.",
    "Repair the client; EHLO lists what is served.",
)
NOT_IMPLEMENTED = _entry(
    "smtp.not-implemented",
    Reply(502, "5.5.1", "Commande non servie ici."),
    "EXPN, or AUTH on a door without it.",
    "Use the submission door (587 or 465) to log in.",
)
BAD_ARGUMENT = _entry(
    "smtp.bad-argument",
    Reply(501, "5.5.4", "Paramètres de la commande incorrects ; vérifiez le logiciel d'envoi."),
    "Arguments that are not in the grammar of the command.",
    "Repair the client: RFC 5321 4.1.1.",
)
BAD_CHUNK = _entry(
    "smtp.bad-chunk",
    Reply(501, "5.5.4", "Taille de BDAT illisible ; connexion fermée, renvoyez le message."),
    "BDAT without a size that can be read: what follows could be content or commands (ATT-35).",
    "Repair the client: RFC 3030 2.",
)
HOLD_TOO_LONG = _entry(
    "smtp.hold-too-long",
    Reply(501, "5.5.4", "Envoi différé trop lointain ; choisissez une date plus proche."),
    "HOLDFOR or HOLDUNTIL beyond limits.future_release (RFC 4865).",
    "Choose an earlier moment; EHLO says which is the last.",
)
UNKNOWN_PARAMETER = _entry(
    "smtp.unknown-parameter",
    Reply(555, "5.5.4", "Paramètre MAIL ou RCPT non servi ; vérifiez le logiciel d'envoi."),
    "A parameter of an extension that EHLO did not announce.",
    "Repair the client, or switch that extension off in it.",
)
TRAILING_DOT = _entry(
    "smtp.trailing-dot",
    Reply(501, "5.1.7", "Domaine terminé par un point ; retirez-le puis renvoyez."),
    "A domain with a trailing dot (WT-36): it can be in no list.",
    "Correct the address.",
)
BAD_SENDER = _entry(
    "smtp.bad-sender",
    Reply(501, "5.1.7", "Adresse d'expéditeur mal formée ; corrigez-la puis renvoyez."),
    "The reverse-path is not an address of RFC 5321 4.1.2.",
    "Correct the address in the account settings.",
)
SOURCE_ROUTE = _entry(
    "smtp.source-route",
    Reply(501, "5.1.3", "Adresse avec relais imposé ; écrivez seulement nom@domaine."),
    "A source route `@a,@b:user@c` (RFC 5321 appendix C).",
    "Write the address without the route.",
)
TLS_BEFORE_LOGIN = _entry(
    "smtp.tls-before-login",
    Reply(538, "5.7.11", "Chiffrement obligatoire avant l'authentification ; activez STARTTLS."),
    "AUTH in clear (OP-81).",
    "Switch on STARTTLS, or TLS on port 465.",
)

# ---------------------------------------------------------------- gateways

GATEWAY_NAME = _entry(
    "smtp.gateway-name",
    Reply(
        554,
        "5.7.1",
        "Le nom de ce certificat n'est celui d'aucune passerelle ; déclarez-le à l'opérateur.",
    ),
    "Gateway door: a good certificate whose name no [[gateways]] of the settings has (DEF-19).",
    "Add the name to gateways.client_names, or have the hospital's server present its own.",
)
GATEWAY_ADDRESS = _entry(
    "smtp.gateway-address",
    Reply(
        554,
        "5.7.1",
        "Adresse IP non déclarée pour cette passerelle ; envoyez depuis le serveur déclaré.",
    ),
    "Gateway door: the certificate is that of a gateway, the address is none of its (DEF-19).",
    "Add the address to gateways.addresses when the hospital's server has moved.",
)
BAD_ATTRIBUTE = _entry(
    "smtp.bad-attribute",
    Reply(501, "5.5.4", "Attribut inconnu ou illisible ; voir la documentation de Postfix."),
    "Gateway door: XCLIENT or XFORWARD with an attribute that was not announced.",
    "Repair the gateway's software.",
)


# ---------------------------------------------------------------- limits

TOO_BIG = _entry(
    "smtp.too-big",
    Reply(552, "5.3.4", "Message trop volumineux ; partagez-le en plusieurs envois."),
    "SIZE= or the octets of DATA exceed limits.message_octets (CL-38, OP-66).",
    "Send the attachments in several messages.",
)


def too_big(limit_octets: int) -> Reply:
    """TOO_BIG with the limit in the text."""
    return Reply(
        552,
        "5.3.4",
        f"Message trop volumineux (limite : {limit_octets} octets) ; "
        "partagez-le en plusieurs envois.",
    )


TOO_MANY_RECIPIENTS = _entry(
    "smtp.too-many-recipients",
    Reply(452, "4.5.3", "Trop de destinataires ; envoyez aux suivants dans un autre message."),
    "More than limits.recipients in one message.",
    "Mail servers send the rest by themselves; a person sends a second message.",
)
TOO_MANY_CONNECTIONS = _entry(
    "smtp.too-many-connections",
    Reply(421, "4.7.0", "Trop de connexions simultanées ; réessayez dans un instant."),
    "limits.connections or limits.connections_per_address is reached.",
    "Wait; if it lasts, raise the limit or find the program that opens them.",
)
NO_MACHINE = _entry(
    "smtp.no-machine",
    Reply(554, "5.7.1", "Cette adresse n'est celle d'aucun appareil déclaré ; ajoutez sa fiche."),
    "A connection to the appliance listener from an address that no [[machines]] table names.",
    "Add the device's address to its table, or use the submission door.",
)
TOO_MANY_ERRORS = _entry(
    "smtp.too-many-errors",
    Reply(421, "4.7.0", "Trop d'erreurs de protocole ; connexion fermée."),
    "Too many unknown or malformed commands on one connection.",
    "Repair the client.",
)
TOO_MANY_LOGINS = _entry(
    "smtp.too-many-logins",
    Reply(421, "4.7.0", "Trop de mots de passe refusés ; vérifiez-le puis reconnectez-vous."),
    "limits.wrong_passwords wrong passwords on one connection.",
    "Enter the application password again; make a new one if it is lost.",
)
SESSION_OVER = _entry(
    "smtp.session-over",
    Reply(421, "4.7.0", "Session ouverte depuis 8 heures ; reconnectez-vous."),
    "A session by token lasts 8 hours at most (OP-83).",
    "Connect again with a new token; nothing is lost.",
)
TOO_SLOW = _entry(
    "smtp.too-slow",
    Reply(421, "4.4.2", "Délai dépassé ; connexion fermée, renvoyez le message."),
    "No command, or hardly any DATA, for limits.idle_smtp_s.",
    "Check the network; the sender tries again.",
)
STOPPING = _entry(
    "smtp.stopping",
    Reply(421, "4.3.2", "Le serveur s'arrête ; réessayez dans quelques minutes."),
    "An orderly stop or a reload.",
    "Nothing to do: senders try again.",
)

# ---------------------------------------------------------------- content

BARE_LINE_END = _entry(
    "smtp.bare-line-end",
    Reply(550, "5.6.0", "Fins de ligne ambiguës (CR ou LF isolé) ; mettez à jour le logiciel."),
    "A bare CR or LF inside DATA (DEF-02, ATT-01); nothing was stored.",
    "The sending software must end lines in CRLF.",
)
NUL_OCTET = _entry(
    "smtp.nul",
    Reply(550, "5.6.0", "Octet nul dans le message ; mettez à jour le logiciel d'envoi."),
    "A NUL inside DATA (DEF-02); nothing was stored.",
    "The sending software must encode binary parts in base64.",
)
DEADLINE_PASSED = _entry(
    "smtp.deadline-passed",
    Reply(550, "5.4.7", "Délai de remise demandé déjà dépassé ; renvoyez avec un délai plus long."),
    "BY=…;R, and the time was over before the message had come (RFC 2852 4.1).",
    "Send again with more time, or without.",
)
LEADING_FOLD = _entry(
    "smtp.leading-fold",
    Reply(550, "5.6.0", "Le message commence par une ligne de suite ; mettez à jour le logiciel."),
    "The first line starts with a space or tab: it would become part of our trace header (ATT-09).",
    "The sending software must start with a header field or an empty line.",
)
HEADER_TOO_LONG = _entry(
    "smtp.header-too-long",
    Reply(554, "5.6.0", "En-tête de message trop long ; réduisez le nombre de destinataires."),
    "The header section exceeds limits.header_octets (ATT-07).",
    "Shorten the header: usually a very long list of addresses.",
)
LOOP = _entry(
    "smtp.loop",
    Reply(554, "5.4.6", "Boucle de messagerie ; prévenez l'administrateur."),
    "More than 100 Received fields (RFC 5321 6.3).",
    "Look for a forwarding rule that comes back.",
)
SCANNER_DOWN = _entry(
    "smtp.scanner-down",
    Reply(451, "4.7.1", "Analyse antivirus momentanément impossible ; réessayez plus tard."),
    "The scanner of antivirus.clamd does not answer, or gave no verdict on this message (OP-68).",
    "Senders try again by themselves; the administrator starts clamd: `mssmtp doctor` asks it. If"
    " large messages alone wait, StreamMaxLength of clamd.conf is below limits.message_octets.",
)
# ---------------------------------------------------------------- shared with every room

for _key, _reply, _when, _remedy in (
    (
        "core.internal",
        INTERNAL,
        "A bug or a lost resource of ours: the message is neither lost nor refused for good.",
        "The sender tries again; the administrator finds the connection id in the log.",
    ),
    (
        "core.bad-syntax",
        BadSyntax.smtp,
        "A command that is not in the grammar.",
        "Repair the client.",
    ),
    (
        "core.bad-address",
        BadAddress.smtp,
        "An address that is not one of RFC 5321 4.1.2.",
        "Correct the address.",
    ),
    (
        "core.non-ascii-address",
        NonAsciiAddress.smtp,
        "An address with accents (OP-67).",
        "Write the address as the directory shows it.",
    ),
    (
        "core.storage-full",
        StorageFull.smtp,
        "No space where the store lives; nothing was stored of this message.",
        "The administrator makes room; senders try again by themselves.",
    ),
    (
        "core.storage-behind",
        StorageBehind.smtp,
        "More waits to be written than the disk takes; told before the message is sent if it can.",
        "Senders try again by themselves; the administrator compares `mssmtp_commit_seconds` with"
        " a quiet day and looks for what slows the disk or the database.",
    ),
    (
        "core.storage-unavailable",
        StorageUnavailable.smtp,
        "The store cannot be written now: read-only, lost or too busy.",
        "The administrator looks at the disk with `mssmtp doctor`; senders try again.",
    ),
):
    _entry(_key, _reply, _when, _remedy)
