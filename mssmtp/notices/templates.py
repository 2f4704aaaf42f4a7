"""Texts of service mail in French and English (messages.md §3.3).

A template is ours; what goes into it is put in once, as it is, and never read as a template again
(ATT-37).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mssmtp.notices import phrases
from mssmtp.notices.kinds import TRAITS, Kind

Value = str | Sequence[str]
"""One line, or several where the kind takes several."""

MOST_CHARACTERS = 400
MOST_LINES = 50
LANGUAGES = ("fr", "en")


class BadNotice(ValueError):
    """Values that are not those of the kind: a bug of the caller."""


@dataclass(frozen=True, slots=True)
class Written:
    """A subject, and the lines of the text."""

    subject: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Template:
    """`page`: said before the link to the page of the kind, when there is a link."""

    subject: str
    text: str
    page: str = ""


def checked(kind: Kind, values: Mapping[str, Value]) -> dict[str, str | list[str]]:
    """The values of one mail, bounded, without line ends. Raises BadNotice.

    Nothing but what the kind names goes out, and nothing as long as a letter (DEF-04).
    """
    traits = TRAITS[kind]
    if set(values) != set(traits.fields):
        raise BadNotice(f"{kind}: takes {sorted(traits.fields)}, given {sorted(values)}")
    found: dict[str, str | list[str]] = {}
    for name, value in values.items():
        if isinstance(value, str) == (name in traits.several):
            raise BadNotice(f"{kind}: {name} is of another kind")
        if isinstance(value, str):
            found[name] = one_line(value)
        else:
            found[name] = [one_line(line) for line in value[:MOST_LINES]]
    return found


def one_line(text: str) -> str:
    """Without controls, line ends and directions, of at most MOST_CHARACTERS (ATT-09)."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    words = " ".join(plain.split())
    if len(words) > MOST_CHARACTERS:
        return words[: MOST_CHARACTERS - 1] + "…"
    return words


def written(
    kind: Kind, language: str, brand: str, values: Mapping[str, str | list[str]]
) -> Written:
    """The mail of `kind` with `values`, which are `checked`."""
    template = _TEXTS[kind][language if language in LANGUAGES else "fr"]
    shown = {
        name: value if isinstance(value, str) else "\n".join(f"  - {line}" for line in value)
        for name, value in values.items()
    }
    for name in phrases.FIELDS & shown.keys():
        shown[name] = phrases.in_language(shown[name], language)
    shown |= {"brand": brand, "BRAND": brand.upper()}
    end = _END[language if language in LANGUAGES else "fr"].format_map(shown)
    text = template.text.format_map(shown)
    # What an older release has queued knows of no link.
    if template.page and shown.get("link"):
        text += f"\n\n{template.page}\n\n{shown['link']}"
    return Written(template.subject.format_map(shown), tuple(f"{text}\n\n{end}".split("\n")))


_END = {
    "fr": "-- \n{brand} - message automatique, merci de ne pas y répondre.",
    "en": "-- \n{brand} - automatic message, please do not reply.",
}

_TEXTS: dict[Kind, dict[str, _Template]] = {
    Kind.REGISTRATION: {
        "fr": _Template(
            "Confirmation d'inscription {brand}",
            "Bonjour,\n\nVotre inscription à {brand} est presque terminée : ouvrez ce lien pour"
            " confirmer votre adresse.\n\n{link}\n\nIl sert une seule fois, pendant 48 heures. Si"
            " vous n'avez rien demandé, ne faites rien.",
        ),
        "en": _Template(
            "{brand} registration: confirm your address",
            "Hello,\n\nYour registration with {brand} is nearly done: open this link to confirm"
            " your address.\n\n{link}\n\nIt works once, for 48 hours. If you asked for nothing,"
            " do nothing.",
        ),
    },
    Kind.REGISTERED: {
        "fr": _Template(
            "Votre compte {brand} existe déjà",
            "Bonjour,\n\nQuelqu'un, vous peut-être, a demandé une inscription à {brand} avec cette"
            " adresse : elle a déjà un compte.\n\nPour vous connecter : {link}\n\nMot de passe"
            " oublié : {reset}\n\nSi votre établissement a préparé ce compte et que vous ne l'avez"
            " pas encore activé, demandez un lien à votre administrateur. Si vous n'avez rien"
            " demandé, ne faites rien.",
        ),
        "en": _Template(
            "Your {brand} account exists already",
            "Hello,\n\nSomebody, perhaps you, asked for a registration with {brand} for this"
            " address: it has an account already.\n\nTo log in: {link}\n\nForgotten password:"
            " {reset}\n\nIf your organisation has prepared this account and you have not activated"
            " it yet, ask your administrator for a link. If you asked for nothing, do nothing.",
        ),
    },
    Kind.CODE: {
        "fr": _Template(
            "[{code}] - Votre code d'accès {brand}",
            "Bonjour,\n\nVotre code d'accès : {code}\n\nIl est valable 10 minutes et ne sert"
            " qu'une fois. Ne le donnez à personne : {brand} ne vous le demandera jamais par"
            " téléphone. Si vous n'avez pas demandé de code, changez votre mot de passe.",
        ),
        "en": _Template(
            "[{code}] - Your {brand} access code",
            "Hello,\n\nYour access code: {code}\n\nIt is valid for 10 minutes and works once. Give"
            " it to nobody: {brand} never asks for it by telephone. If you did not ask for a code,"
            " change your password.",
        ),
    },
    Kind.ACTIVATION: {
        "fr": _Template(
            "Activez votre compte {brand}",
            "Bonjour,\n\n{structure} a préparé votre compte {brand}, pour la boîte {box}. Ouvrez ce"
            " lien et choisissez votre mot de passe :\n\n{link}\n\nIl sert une seule fois, jusqu'au"
            " {until}. S'il ne fonctionne plus, demandez-en un autre à votre administrateur.",
        ),
        "en": _Template(
            "Activate your {brand} account",
            "Hello,\n\n{structure} has prepared your {brand} account, for the mailbox {box}. Open"
            " this link and choose your password:\n\n{link}\n\nIt works once, until {until}. If it"
            " does not work any more, ask your administrator for another.",
        ),
    },
    Kind.RESET: {
        "fr": _Template(
            "Nouveau mot de passe {brand}",
            "Bonjour,\n\nOuvrez ce lien pour choisir un nouveau mot de passe ; un code vous sera"
            " aussi demandé.\n\n{link}\n\nIl sert une seule fois, pendant une heure. Si vous n'avez"
            " rien demandé, ne faites rien : votre mot de passe reste le même.",
        ),
        "en": _Template(
            "New {brand} password",
            "Hello,\n\nOpen this link to choose a new password; you will be asked for a code"
            " too.\n\n{link}\n\nIt works once, for one hour. If you asked for nothing, do nothing:"
            " your password stays as it is.",
        ),
    },
    Kind.INVITATION: {
        "fr": _Template(
            "[{BRAND} : Reception] Message sécurisé",
            "Bonjour,\n\nUn message sécurisé vous attend sur {brand}.\n\nExpéditeur : {sender}\n\n"
            "Pour le lire et y répondre, confirmez votre adresse :\n\n{link}\n\nCe lien sert une"
            " seule fois, pendant 48 heures ; vous pouvez en demander un autre. Le message attend"
            " jusqu'au {until}, puis son expéditeur est prévenu.",
        ),
        "en": _Template(
            "[{BRAND} : Reception] Secure message",
            "Hello,\n\nA secure message waits for you on {brand}.\n\nSender: {sender}\n\nTo read"
            " and answer it, confirm your address:\n\n{link}\n\nThis link works once, for 48 hours;"
            " you can ask for another. The message waits until {until}, then its sender is told.",
        ),
    },
    Kind.ARRIVAL: {
        "fr": _Template(
            "[{BRAND} : Reception] {title}",
            "Bonjour,\n\nUn message sécurisé vous attend dans votre boîte {box}.\n\nExpéditeur :"
            " {sender}\nTitre : {title}\n\nPour le lire : {link}",
        ),
        "en": _Template(
            "[{BRAND} : Reception] {title}",
            "Hello,\n\nA secure message waits in your mailbox {box}.\n\nSender: {sender}\nTitle:"
            " {title}\n\nTo read it: {link}",
        ),
    },
    Kind.DIGEST: {
        "fr": _Template(
            "[{BRAND} : Reception] {count} messages",
            "Bonjour,\n\nMessages sécurisés arrivés dans la boîte {box} : {count}.\n\n{letters}\n\n"
            "Pour les lire : {link}",
        ),
        "en": _Template(
            "[{BRAND} : Reception] {count} messages",
            "Hello,\n\nSecure messages that arrived in the mailbox {box}: {count}.\n\n{letters}\n\n"
            "To read them: {link}",
        ),
    },
    Kind.OPENING: {
        "fr": _Template(
            "[{BRAND} : Ouverture] {title}",
            "Bonjour,\n\nVotre message a été ouvert.\n\nDestinataire : {recipient}\nTitre :"
            " {title}\nDate : {time}\nEnveloppe : {envelope}",
        ),
        "en": _Template(
            "[{BRAND} : Opening] {title}",
            "Hello,\n\nYour message was opened.\n\nRecipient: {recipient}\nTitle: {title}\nDate:"
            " {time}\nEnvelope: {envelope}",
        ),
    },
    Kind.SEALING: {
        "fr": _Template(
            "[{BRAND} : Scellement] {title}",
            "Bonjour,\n\nVotre message a été scellé et envoyé.\n\nTitre : {title}\nDate : {time}\n"
            "Enveloppe : {envelope}\nDestinataires :\n{recipients}\n\nSa preuve : {link}",
        ),
        "en": _Template(
            "[{BRAND} : Sealing] {title}",
            "Hello,\n\nYour message was sealed and sent.\n\nTitle: {title}\nDate: {time}\n"
            "Envelope: {envelope}\nRecipients:\n{recipients}\n\nIts proof: {link}",
        ),
    },
    Kind.INACTIVITY: {
        "fr": _Template(
            "Votre boîte {brand} sera supprimée dans {days} jours",
            "Bonjour,\n\nVotre boîte {box} n'a plus servi depuis près d'un an. Elle sera supprimée"
            " le {date}, avec ses messages.\n\nPour la garder, ouvrez ce lien ou connectez-vous au"
            " portail :\n\n{link}",
        ),
        "en": _Template(
            "Your {brand} mailbox will be deleted in {days} days",
            "Hello,\n\nYour mailbox {box} was not used for nearly a year. It will be deleted on"
            " {date}, with its messages.\n\nTo keep it, open this link or log in to the portal:"
            "\n\n{link}",
        ),
    },
    Kind.DELEGATION: {
        "fr": _Template(
            "Délégation de votre boîte {brand}",
            "Bonjour,\n\nUne délégation a été donnée sur votre boîte {box}.\n\nÀ : {delegate}\n"
            "Droits : {rights}\nJusqu'au : {until}\n\nSi vous ne l'avez pas voulue, retirez-la sur"
            " le portail et prévenez votre administrateur.",
            "Vos délégations, où chacune se retire :",
        ),
        "en": _Template(
            "Delegation of your {brand} mailbox",
            "Hello,\n\nA delegation was given on your mailbox {box}.\n\nTo: {delegate}\nRights:"
            " {rights}\nUntil: {until}\n\nIf you did not want it, withdraw it on the portal and"
            " tell your administrator.",
            "Your delegations, where each can be withdrawn:",
        ),
    },
    Kind.BREAK_GLASS: {
        "fr": _Template(
            "Accès d'urgence à votre boîte {brand}",
            "Bonjour,\n\n{person} a ouvert en urgence la boîte {box}, jusqu'au {until}.\n\nMotif :"
            " {reason}\n\nChaque lecture est tracée ; vous pouvez en consulter la liste sur le"
            " portail.",
            "L'activité de votre compte :",
        ),
        "en": _Template(
            "Emergency access to your {brand} mailbox",
            "Hello,\n\n{person} has opened the mailbox {box} in an emergency, until {until}.\n\n"
            "Reason: {reason}\n\nEach reading is recorded; the portal shows you the list.",
            "The activity of your account:",
        ),
    },
    Kind.HANDOVER: {
        "fr": _Template(
            "Reprise de la boîte {box}",
            "Bonjour,\n\n{colleague} traite ce qui n'est pas lu ou pas fini dans la boîte {box},"
            " jusqu'au {until}. Chaque ouverture est tracée.",
            "Vos délégations et relèves, où chacune se retire :",
        ),
        "en": _Template(
            "Handover of the mailbox {box}",
            "Hello,\n\n{colleague} takes care of what is unread or not done in the mailbox {box},"
            " until {until}. Each opening is recorded.",
            "Your delegations and handovers, where each can be withdrawn:",
        ),
    },
    Kind.CERTIFIED: {
        "fr": _Template(
            "Votre compte {brand} est certifié",
            "Bonjour,\n\nVotre compte est certifié : vous pouvez écrire depuis la boîte {box}.",
        ),
        "en": _Template(
            "Your {brand} account is certified",
            "Hello,\n\nYour account is certified: you can write from the mailbox {box}.",
        ),
    },
    Kind.ADDRESS_CHANGED: {
        "fr": _Template(
            "Votre adresse usuelle {brand} a changé",
            "Bonjour,\n\nL'adresse usuelle de la boîte {box} n'est plus {before} mais {after}. Si"
            " vous n'avez rien demandé, prévenez le support sans attendre.",
        ),
        "en": _Template(
            "Your usual address at {brand} has changed",
            "Hello,\n\nThe usual address of the mailbox {box} is no longer {before} but {after}. If"
            " you asked for nothing, tell the support at once.",
        ),
    },
    Kind.EXERCISE_ENDED: {
        "fr": _Template(
            "{brand} : compte suspendu d'un professionnel de votre structure",
            "Bonjour,\n\nLe compte de {person} est suspendu depuis le {date}.\n\nMotif : {reason}"
            "\n\nRien n'est supprimé. Rétablissez-le s'il s'agit d'une erreur, sinon nommez le"
            " collègue qui reprend ses messages.",
        ),
        "en": _Template(
            "{brand}: account of a professional of your structure suspended",
            "Hello,\n\nThe account of {person} is suspended since {date}.\n\nReason: {reason}\n\n"
            "Nothing is deleted. Restore it if this is a mistake, or else name the colleague who"
            " takes over the messages.",
        ),
    },
    Kind.DEVICE: {
        "fr": _Template(
            "{brand} : appareil « {device} »",
            "Bonjour,\n\n{event}\n\nAppareil : {device}\nDate : {time}\n\nSi ce n'est pas vous,"
            " révoquez cet appareil sur le portail et changez votre mot de passe.",
            "Vos appareils, où chacun se révoque :",
        ),
        "en": _Template(
            "{brand}: device {device}",
            "Hello,\n\n{event}\n\nDevice: {device}\nDate: {time}\n\nIf it was not you, revoke this"
            " device on the portal and change your password.",
            "Your devices, where each can be revoked:",
        ),
    },
    Kind.CLOUD_RELAY: {
        "fr": _Template(
            "{brand} : connexion refusée d'une application hébergée",
            "Bonjour,\n\nUne application qui confie le mot de passe et le courrier à un tiers a"
            " été refusée.\n\nCompte : {login}\nApplication : {product}\nAdresse : {address}\n"
            "Date : {time}\n\nPrenez une application qui se connecte directement, et changez le"
            " mot de passe que vous lui aviez confié.",
            "Vos appareils, où son mot de passe se révoque :",
        ),
        "en": _Template(
            "{brand}: login of a hosted application refused",
            "Hello,\n\nAn application that hands password and mail to a third party was refused."
            "\n\nAccount: {login}\nApplication: {product}\nAddress: {address}\nDate: {time}\n\n"
            "Use an application that connects directly, and change the password you gave it.",
            "Your devices, where its password can be revoked:",
        ),
    },
}
