"""Every refusal the policy can give, once: code, French sentence with its remedy, when it comes.

`docs/errors.md` has one entry per key; a test fails when one is missing.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from mssmtp.errors import Reply

SHOWN_NAME = 60
"""Characters of an attachment name that are quoted in a reply."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply with places to fill (`{name}`), when it is given and what the person can do."""

    key: str
    code: int
    enhanced: str
    text: str
    when: str
    remedy: str

    def reply(self, **values: str) -> Reply:
        """The reply with its places filled; values must already be free of control characters."""
        return Reply(self.code, self.enhanced, self.text.format(**values))

    def example(self) -> Reply:
        """The reply with each place shown as `<place>`, for documents."""
        places = [name for _, name, _, _ in string.Formatter().parse(self.text) if name]
        return self.reply(**{name: f"<{name}>" for name in places})


def quotable(name: str, longest: int = SHOWN_NAME) -> str:
    """A peer's text (an attachment name) made fit for one reply line.

    Control, format (bidirectional, zero width) and unassigned characters go, every run of white
    space becomes one space, the middle is cut out of what is longer than `longest`: a name cannot
    start a new reply line (ATT-37) nor reverse what the reader sees.
    """
    kept = "".join(
        character
        if not unicodedata.category(character).startswith(("C", "Z"))
        else (" " if character.isspace() or character == "\x00" else "")
        for character in name[:4096]
    )
    flat = " ".join(kept.split())
    if len(flat) > longest:
        tail = longest // 3
        flat = f"{flat[: longest - tail - 1]}…{flat[-tail:]}"
    return flat or "sans nom"


DENIED = Refusal(
    "default.deny",
    550,
    "5.7.1",
    "Aucune règle n'autorise cet envoi ; contactez l'assistance de votre opérateur.",
    "No rule accepted: what is not allowed is refused (deny by default).",
    "Ask the operator; `mssmtp explain` shows which rules were asked and what they lacked.",
)
SENDER_UNBOUND = Refusal(
    "sender.bound",
    553,
    "5.7.1",
    "L'adresse d'expédition n'est pas une boîte de ce compte ; "
    "choisissez comme expéditeur l'une de vos boîtes MSSanté.",
    "Submission: MAIL FROM is not a box the login owns or is a member of (OP-86).",
    "Set the sender of the mail client to a box of this account.",
)
SENDER_NOT_BEHIND = Refusal(
    "sender.bound.gateway",
    553,
    "5.7.1",
    "L'expéditeur {address} n'est pas une boîte MSSanté de cette passerelle ; "
    "ajoutez-le à la table d'alias ou faites créer sa boîte.",
    "Gateway: MAIL FROM, after the table of aliases, is no box of its domains (DEF-19).",
    "Add the pair to the table of aliases, or create the box (`mssmtp bal add`).",
)
SENDER_FOREIGN = Refusal(
    "sender.operator",
    550,
    "5.7.1",
    "Le certificat présenté n'est pas déclaré pour le domaine de l'expéditeur ; "
    "vérifiez la liste blanche MSSanté.",
    "Operator door: MAIL FROM is in a domain the list does not give to the peer (OP-10).",
    "The peer corrects its whitelist rows, or sends with the certificate declared there.",
)
SENDER_NOT_OURS = Refusal(
    "sender.internal",
    550,
    "5.7.1",
    "Un message du service ne peut partir que d'un domaine servi ici ; signalez l'incident.",
    "A message made by the server itself has a sender outside the domains served here.",
    "A fault of the server: report it.",
)
SENDER_TOO_FAST = Refusal(
    "sender.rate",
    450,
    "4.7.1",
    "Cette boîte écrit à trop de destinataires ; réessayez dans {minutes} min, ou demandez une "
    "limite plus haute à votre opérateur.",
    "Submission: the box has written to more recipients than policy.rates lets it.",
    "Wait; if nobody of the service sent so much, change the password and tell the operator.",
)
BOX_PRE_REGISTERED = Refusal(
    "bal.state.pre-registered",
    550,
    "5.7.1",
    "Votre compte n'est pas finalisé ; terminez l'inscription sur le portail puis renvoyez.",
    "Submission: the box acted in belongs to a pre-registered person (SEED-37).",
    "Finish the registration on the portal.",
)
BOX_SUSPENDED = Refusal(
    "bal.state.suspended",
    550,
    "5.7.1",
    "Votre boîte est suspendue ; contactez l'administrateur de votre structure.",
    "Submission: the box acted in is suspended (OP-50).",
    "The structure administrator lifts the suspension.",
)
BOX_CLOSED = Refusal(
    "bal.state.closed",
    550,
    "5.7.1",
    "Votre boîte est fermée ; contactez l'administrateur de votre structure.",
    "Submission: the box acted in is closed (OP-50).",
    "Use another box; a closed one does not open again.",
)
NO_RELAY = Refusal(
    "relay.none",
    550,
    "5.7.1",
    "Ce serveur ne relaie pas vers ce domaine ; adressez le message à son opérateur.",
    "Operator door: the recipient's domain is not served here (docs/trust.md, step 9).",
    "The peer corrects its MX lookup or the recipient address.",
)
NOT_YET_SOON = Refusal(
    "relay.none.not-yet-soon",
    450,
    "4.7.1",
    "Le domaine {domain} ne sera servi ici qu'à partir du {date} ; "
    "réessayez alors, ou adressez-vous à son opérateur actuel.",
    "Operator door: the recipient's domain is served here from a date on, which comes within two "
    "days (OP-101).",
    "The peer's queue tries again; before the date it follows the MX of the domain.",
)
NOT_YET = Refusal(
    "relay.none.not-yet",
    550,
    "5.7.1",
    "Le domaine {domain} ne sera servi ici qu'à partir du {date} ; "
    "adressez-vous d'ici là à son opérateur actuel.",
    "Operator door: the recipient's domain is served here from a date on, which is later than any "
    "retry (OP-101).",
    "The peer follows the MX of the domain.",
)
NO_LONGER = Refusal(
    "relay.none.no-longer",
    550,
    "5.7.1",
    "Le domaine {domain} n'est plus servi ici depuis le {date} ; adressez-vous à son opérateur "
    "actuel.",
    "Operator door: the recipient's domain has moved and is not forwarded any more (OP-101).",
    "The peer follows the MX of the domain.",
)
SENDER_NOT_YET = Refusal(
    "sender.not-yet",
    550,
    "5.7.1",
    "Votre domaine {domain} ne sera servi ici qu'à partir du {date} ; envoyez d'ici là par votre "
    "opérateur actuel.",
    "Submission: the box is prepared in a domain that is served here from a date on (OP-101).",
    "Send with the present operator until then.",
)
MOVING = Refusal(
    "recipient.listed.moving",
    451,
    "4.7.1",
    "Le domaine {domain} change d'opérateur ; le message attend, au plus tard jusqu'au {date}.",
    "What is queued for a domain that the list has left out for the time of its announced move "
    "(OP-34, OP-101).",
    "Nothing: the letter leaves as soon as the domain is listed again.",
)
LEFT_THE_LIST = Refusal(
    "recipient.listed.left",
    550,
    "5.7.1",
    "Le domaine {domain} n'est plus dans la liste blanche MSSanté (liste du {date}) ; "
    "cherchez une autre adresse du correspondant dans l'annuaire.",
    "The recipient's domain has left the whitelist while the letter was queued (OP-34).",
    "Look the correspondent's present MSSanté address up in the directory.",
)
OWN_REQUESTED = Refusal(
    "sender.listed.requested",
    550,
    "5.7.1",
    "Le domaine {domain} n'est pas encore publié dans l'espace de confiance MSSanté : écrivez "
    "seulement aux boîtes de cet opérateur ; attendez sa publication.",
    "Submission to another operator from a domain served here that is not in the whitelist yet "
    "(DEF-01).",
    "Wait for the publication of the domain: `mssmtp doctor` says since when it is requested.",
)
OWN_WITHDRAWN = Refusal(
    "sender.listed.withdrawn",
    550,
    "5.7.1",
    "Le domaine {domain} n'est plus dans la liste blanche MSSanté : écrivez seulement aux boîtes "
    "de cet opérateur ; prévenez votre administrateur.",
    "Submission to another operator from a domain served here that has left the whitelist "
    "(DEF-01).",
    "The administrator asks ANS why; `mssmtp doctor` says since when.",
)
OWN_WAITS = Refusal(
    "sender.listed.waits",
    451,
    "4.7.1",
    "Le domaine {domain} n'est plus dans la liste blanche MSSanté ; le message attend sa "
    "publication.",
    "A queued message of a domain served here that has left the whitelist meanwhile (DEF-01).",
    "Nothing for the sender: it is tried again, and comes back after 48 hours.",
)
OWN_NOT_OPEN = Refusal(
    "recipient.open",
    451,
    "4.7.1",
    "Le domaine {domain} n'est pas ouvert aux échanges ; réessayez après sa publication.",
    "Operator door: the recipient's domain is served here, and the whitelist in force does not "
    "give it to a certificate of ours (DEF-01).",
    "The peer tries again; its list may be newer than ours.",
)
UNLISTED = Refusal(
    "recipient.listed",
    550,
    "5.7.1",
    "Le domaine {domain} n'est pas dans l'espace de confiance MSSanté ; "
    "vérifiez l'adresse dans l'annuaire.",
    "The recipient's domain is neither served here nor in the whitelist (OP-13).",
    "Look the correspondent's MSSanté address up in the directory.",
)
UNKNOWN = Refusal(
    "recipient.local",
    550,
    "5.1.1",
    "Boîte inconnue ; vérifiez l'adresse dans l'annuaire.",
    "The recipient's domain is served here and has no such box.",
    "Correct the address.",
)
RECIPIENT_CLOSED = Refusal(
    "recipient.state.closed",
    550,
    "5.2.1",
    "La boîte du destinataire est fermée ; cherchez un autre correspondant dans l'annuaire.",
    "The recipient's box is closed (OP-50).",
    "Write to another correspondent of the structure.",
)
RECIPIENT_SUSPENDED = Refusal(
    "recipient.state.suspended",
    450,
    "4.2.1",
    "La boîte du destinataire est suspendue pour le moment ; réessayez plus tard.",
    "The recipient's box is suspended (OP-50).",
    "Try again later, or write to another correspondent.",
)
RECIPIENT_STOPPED = Refusal(
    "recipient.state.suspended-refused",
    550,
    "5.2.1",
    "La boîte du destinataire est suspendue ; cherchez un autre correspondant dans l'annuaire.",
    "The recipient's box is suspended, and policy.suspended_box is refuse (OP-50).",
    "Write to another correspondent of the structure.",
)
RECIPIENT_FULL = Refusal(
    "recipient.quota",
    452,
    "4.2.2",
    "La boîte du destinataire est pleine ; prévenez-le, l'envoi est réessayé pendant 48 heures.",
    "The recipient's box holds all it may hold (`mssmtp bal quota`).",
    "The holder removes mail, or the operator gives more room; until then operators try again.",
)
RECIPIENT_INTERNAL = Refusal(
    "recipient.exchange",
    550,
    "5.7.1",
    "Cette boîte ne reçoit pas de messages d'autres opérateurs ; "
    "écrivez à la boîte de sa structure.",
    "Operator door: the box is MED, INT or of a person who is not certified, and exchanges "
    "inside the operator only (SEED-32, DEF-08).",
    "Write to the ORG box of the structure.",
)
BAD_INS = Refusal(
    "recipient.ins",
    550,
    "5.1.3",
    "Adresse de patient invalide : il faut les 15 caractères du matricule INS, clé comprise ; "
    "vérifiez l'identité qualifiée du patient.",
    "Submission to a patient: not 15 characters, or the key is wrong (OP-88).",
    "Take the address from the qualified INS of the patient.",
)
NOT_ENTITLED = Refusal(
    "habilitation.trust-space",
    550,
    "5.7.1",
    "Votre boîte n'écrit qu'aux boîtes de cet opérateur ; "
    "utilisez une boîte organisationnelle dont vous êtes membre.",
    "A MED or INT box, or a PER box without RPPS or ADELI, writes to another operator (SEED-32).",
    "Act in an ORG box of which the account is a member.",
)
NOT_CERTIFIED = Refusal(
    "habilitation.not-certified",
    550,
    "5.7.1",
    "Votre compte n'est pas encore certifié : vous pouvez seulement répondre, chez cet opérateur, "
    "à qui vous a écrit.",
    "A person who is not certified writes to somebody who has not written first, or to another "
    "operator (SEED-37).",
    "Wait for the certification of the account, or ask the regional body about it.",
)
PATIENT_FIRST = Refusal(
    "habilitation.patient",
    550,
    "5.7.1",
    "Vous pouvez écrire seulement à un professionnel qui vous a déjà écrit.",
    "A patient writes to somebody who has not written first (OP-89).",
    "Wait for the professional's message and answer it.",
)
PATIENTS_APART = Refusal(
    "habilitation.patients",
    550,
    "5.7.1",
    "Les patients ne s'écrivent pas entre eux par la messagerie de santé ; "
    "répondez à un professionnel.",
    "A patient of another operator writes to a patient served here (OP-89).",
    "Answer a professional who has written.",
)
DELEGATE_REPLIES = Refusal(
    "habilitation.delegate",
    550,
    "5.7.1",
    "Votre délégation permet seulement de répondre à qui a écrit à cette boîte ; demandez à son "
    "titulaire le droit d'écrire en son nom.",
    "A delegate with the right `reply` writes on behalf of the holder to somebody who has not "
    "written to the box (DEF-12).",
    "The holder gives the right `send` (`mssmtp bal delegation add`).",
)
DELEGATE_UNNAMED = Refusal(
    "from.on-behalf",
    553,
    "5.7.1",
    "Un message au nom d'un titulaire porte votre propre boîte dans l'en-tête Sender ; retirez cet "
    "en-tête, il est ajouté pour vous.",
    "Submission: From names a box that is lent to the login, and Sender names no box of the "
    "login's own (DEF-12, RFC 5322 3.6.2).",
    "Let the server add Sender; connect with the account's own password, not with one for one box.",
)
DELEGATE_ENVELOPE = Refusal(
    "from.on-behalf.envelope",
    553,
    "5.7.1",
    "Un message au nom d'un titulaire part de sa boîte ; choisissez-la comme expéditeur.",
    "Submission: From names a box that is lent to the login, and MAIL FROM is another one, or none "
    "where the right is only to reply (DEF-12).",
    "Choose the holder's box as the identity the mail client sends with.",
)
APICRYPT_MOVED = Refusal(
    "apicrypt.refuse",
    550,
    "5.1.6",
    "Adresse Apicrypt native ; écrivez à {address} depuis MSSanté.",
    "Submission to a native Apicrypt address while policy.apicrypt.mode is refuse (APX-03).",
    "Use the address quoted in the reply.",
)
APICRYPT_AMBIGUOUS = Refusal(
    "apicrypt.collision",
    550,
    "5.1.4",
    "Adresse ambiguë : {first} et {second} deviennent toutes deux {address} ; "
    "confirmez le correspondant dans l'annuaire Apicrypt.",
    "Two native Apicrypt addresses lead to one interop address (APX-04).",
    "Confirm in the Apicrypt directory, then write to the interop address itself.",
)
DOMAIN_REFUSED = Refusal(
    "domain.refuse",
    550,
    "5.7.1",
    "L'opérateur n'envoie pas vers {domain} ; {reason}.",
    "Submission to a domain that a table [[policy.domain_rules]] refuses.",
    "Do as the sentence says; the operator changes the rule (`mssmtp policy show`).",
)
FROM_UNBOUND = Refusal(
    "from.bound",
    553,
    "5.7.1",
    "L'en-tête From (ou Sender) n'est pas une boîte de ce compte ; "
    "corrigez l'expéditeur dans votre logiciel.",
    "Submission: From or Sender names an address that the login does not own (OP-86).",
    "Set From to a box of this account.",
)
FROM_NOT_BEHIND = Refusal(
    "from.bound.gateway",
    553,
    "5.7.1",
    "L'auteur {address} (From ou Sender) n'est pas une boîte MSSanté de cette passerelle ; "
    "ajoutez-le à la table d'alias ou faites créer sa boîte.",
    "Gateway: From or Sender, after the table of aliases, names no box of its domains (DEF-19).",
    "Add the pair to the table of aliases, or create the box (`mssmtp bal add`).",
)
FROM_MISSING = Refusal(
    "from.missing",
    553,
    "5.7.1",
    "L'en-tête From manque ou ne se lit pas ; indiquez un expéditeur dans votre logiciel.",
    "Submission: the message has no From address that can be bound to the login (OP-86).",
    "Set From to a box of this account.",
)
FROM_FOREIGN = Refusal(
    "from.peer",
    550,
    "5.7.1",
    "L'en-tête From n'est pas d'un domaine de l'opérateur qui présente le message ; "
    "envoyez par votre propre opérateur.",
    "Operator door: the domain of From (or Sender) is not listed for the peer (OP-15).",
    "The peer sends only what its own domains have written.",
)
FROM_SHOWN = Refusal(
    "from.shown",
    550,
    "5.7.1",
    "Le nom affiché de l'expéditeur contient une adresse d'un autre domaine MSSanté ({domain}) ; "
    "retirez-la.",
    "The display name of From or Sender shows an address of a listed domain that is not the "
    "sender's (ATT-42).",
    "Take the address out of the display name.",
)
MALWARE = Refusal(
    "content.malware",
    554,
    "5.7.0",
    "Virus détecté dans le message ({name}) ; faites analyser le poste qui l'a préparé, "
    "puis renvoyez sans la pièce infectée.",
    "Submission and operator door: the scanner named by antivirus.clamd found malware (OP-68). "
    "Nothing is delivered; trace and event remain.",
    "Have the computer scanned that prepared the message; send it again without the infected file.",
)
FORBIDDEN_ATTACHMENT = Refusal(
    "content.attachment",
    550,
    "5.7.1",
    "La pièce « {name} » est d'un type refusé ({kind}) ; retirez-la ou envoyez-la en PDF.",
    "Submission: an attachment of a type in policy.forbidden_attachments, as a rule one that runs "
    "when it is clicked.",
    "Send the document itself, as PDF for example.",
)
MESSAGE_TOO_BIG = Refusal(
    "size.message",
    552,
    "5.3.4",
    "Message trop volumineux (limite : {limit}) ; répartissez les pièces en plusieurs envois.",
    "The message is larger than the announced SIZE (OP-66).",
    "Split the attachments into several messages.",
)
ATTACHMENT_TOO_BIG = Refusal(
    "size.attachment",
    552,
    "5.3.4",
    "La pièce jointe « {name} » dépasse {limit} ; réduisez-la ou découpez-la.",
    "Submission: one attachment is larger than the limit, decoded (SEED-55).",
    "Reduce or split the file named in the reply.",
)
TOTAL_TOO_BIG = Refusal(
    "size.total",
    552,
    "5.3.4",
    "Les pièces jointes dépassent ensemble {limit} ; répartissez-les en plusieurs envois.",
    "Submission: all attachments together are larger than the limit, decoded (SEED-56).",
    "Split the attachments into several messages.",
)
PATIENT_TOO_BIG = Refusal(
    "size.patient",
    552,
    "5.3.4",
    "Message trop volumineux pour un patient (limite : {limit}) ; "
    "répartissez les pièces en plusieurs envois.",
    "Submission to patients: the whole message is larger than they can receive (DEF-18). With "
    "other recipients, these get it and each patient comes back as a DSN.",
    "Split the attachments into several messages.",
)

ALL: tuple[Refusal, ...] = tuple(v for v in list(globals().values()) if isinstance(v, Refusal))


def all_replies() -> Iterator[tuple[str, Reply, str, str]]:
    """(key, example reply, when, remedy) of every refusal, for `docs/errors.md`."""
    for refusal in ALL:
        yield refusal.key, refusal.example(), refusal.when, refusal.remedy


def octets(size: int) -> str:
    """`10 Mo` for a limit of 10 MiB; octets when it is not a whole number of MiB (1 Mo = 1 MiB)."""
    mebi, rest = divmod(size, 1_048_576)
    return f"{mebi} Mo" if mebi and not rest else f"{size} octets"
