"""Envelopes for who has no mail program: the list, one opened, its files, an answer (SEED-35), and
a new one, for which somebody who is not known yet can be invited (DEF-09).

What may be written, and to whom, is for submission to say (`posting.py`).
"""

from __future__ import annotations

import base64

from mssmtp.envelopes import Envelopes, NoSuchEnvelope
from mssmtp.errors import BadAddress, MailError, Reply
from mssmtp.mail import Address
from mssmtp.posting import Attached, Written
from mssmtp.web.page import (
    Answer,
    Call,
    FieldProblem,
    Goes,
    Handler,
    Needs,
    NotFound,
    Page,
    Sent,
    Shown,
)

HERE = "enveloppes"
MOST_OCTETS = 31_457_280
"""Of a form with its files; encoded they are a third more, within 40 MiB (messages.md §2)."""
MOST_TEXT = 100_000
_DRAFT_OCTETS = 16
_DOWNLOADED = "application/octet-stream"
"""Whatever it is said to be: no browser opens it as a page."""


class NothingWritten(MailError):
    """A letter without text and without files."""

    smtp = Reply(554, "5.6.0", "Écrivez un texte, ou joignez un fichier.")


class TooMuchText(MailError):
    """More text than a letter of this page has."""

    smtp = Reply(552, "5.3.4", "Ce texte est trop long ; joignez-le en fichier.")


class PerhapsSent(MailError):
    """The store was too slow: nobody knows yet."""

    smtp = Reply(
        451, "4.4.1", "Votre message est peut-être parti ; vérifiez auprès du destinataire."
    )


def _envelopes(call: Call) -> Envelopes:
    return Envelopes(call.site.store, call.site.clock)


def _theirs(handler: Handler) -> Handler:
    """What is not theirs is answered as what is not there (ATT-24)."""

    def handled(call: Call) -> Answer:
        try:
            return handler(call)
        except NoSuchEnvelope as error:
            raise NotFound from error

    return handled


def _list(call: Call) -> Answer:
    text = call.query.get("page", "1")
    page = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 1
    lines, has_more = _envelopes(call).lines(call.holder().account, page)
    told = {"lines": lines, "page": page, "has_more": has_more, "writes": _author(call)}
    return Shown("envelopes.html", told)


def _get(call: Call) -> Answer:
    cover = _envelopes(call).look(call.holder().account, call.args["id"])
    return Shown("envelope.html", {"cover": cover, "draft": _drawn(call)})


def _open(call: Call) -> Answer:
    _envelopes(call).open(call.holder().account, call.args["id"])
    return Goes(f"{HERE}/{call.args['id']}")


def _file(call: Call) -> Answer:
    number = call.args["number"]
    if not (number.isascii() and number.isdecimal() and len(number) < 6):
        raise NotFound
    account = call.holder().account
    found, blocks = _envelopes(call).file(account, call.args["id"], int(number))
    return Sent(blocks, _DOWNLOADED, found.name)


def _answer(call: Call) -> Answer:
    account, envelopes = call.holder().account, _envelopes(call)
    cover = envelopes.look(account, call.args["id"])
    if cover.opened is None or cover.sender is None:
        raise NotFound
    subject = cover.subject
    if not subject.lower().startswith("re:"):
        subject = f"Re: {subject}"
    text, files = _typed(call)
    _post(call, Written(cover.box.address, cover.sender, subject, text, cover.header, files))
    envelopes.answered(account, call.args["id"])
    return Goes(f"{HERE}/{call.args['id']}", done="envelopes.answered")


def _author(call: Call) -> Address | None:
    """Whose letters may be written here; None where none may."""
    return None if call.site.posting is None else _envelopes(call).author(call.holder().account)


def _get_new(call: Call) -> Answer:
    author = _author(call)
    if author is None:
        raise NotFound
    return Shown("write.html", {"author": author, "draft": _drawn(call)})


def _write(call: Call) -> Answer:
    author = _author(call)
    if author is None:
        raise NotFound
    try:
        to = Address.parse(call.form["to"].strip())
    except BadAddress as error:
        raise FieldProblem("to", error) from error
    text, files = _typed(call)
    invites = call.form["inviter"] == "on"
    _post(call, Written(author, to, call.form["objet"], text, files=files, invites=invites))
    return Goes(HERE, done="envelopes.written")


def _post(call: Call, written: Written) -> None:
    account, posting = call.holder().account, call.site.posting
    if posting is None:
        raise NotFound
    _envelopes(call).begin_letter(account, call.form["draft"])
    try:
        call.site.wait(posting.post(account, written, f"=_{_drawn(call)}"))
    except TimeoutError as error:
        raise PerhapsSent from error


def _typed(call: Call) -> tuple[str, tuple[Attached, ...]]:
    """Text and files of the form. Raises NothingWritten, TooMuchText."""
    text = call.form["text"]
    files = tuple(Attached(each.name, each.octets) for each in call.files)
    if not (text.strip() or files):
        raise NothingWritten
    if len(text) > MOST_TEXT:
        raise TooMuchText
    return text, files


def _drawn(call: Call) -> str:
    octets = call.site.entropy.token_bytes(_DRAFT_OCTETS)
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


PAGES = (
    Page(HERE, Needs.SESSION, get=_list),
    Page(
        f"{HERE}/nouvelle",
        Needs.SESSION,
        get=_get_new,
        post=_write,
        most_octets=MOST_OCTETS,
        takes_files=True,
    ),
    Page(f"{HERE}/{{id}}", Needs.SESSION, get=_theirs(_get), post=_theirs(_open)),
    Page(
        f"{HERE}/{{id}}/reponse",
        Needs.SESSION,
        get=_theirs(_get),
        post=_theirs(_answer),
        most_octets=MOST_OCTETS,
        takes_files=True,
    ),
    Page(f"{HERE}/{{id}}/pieces/{{number}}", Needs.SESSION, get=_theirs(_file)),
)
