"""Envelopes for who has no mail program: the list, one opened, its files, an answer (SEED-35).

What may be written, and to whom, is for submission to say (`posting.py`).
"""

from __future__ import annotations

import base64

from mssmtp.envelopes import Cover, Envelopes, NoSuchEnvelope
from mssmtp.errors import MailError, Reply
from mssmtp.mail import Address
from mssmtp.posting import Attached, Written
from mssmtp.web.page import Answer, Call, Goes, Handler, Needs, NotFound, Page, Sent, Shown

HERE = "enveloppes"
MOST_OCTETS = 31_457_280
"""Of a form with its files; encoded they are a third more, within 40 MiB (messages.md §2)."""
MOST_TEXT = 100_000
_DRAFT_OCTETS = 16
_DOWNLOADED = "application/octet-stream"
"""Whatever it is said to be: no browser opens it as a page."""


class NothingWritten(MailError):
    """An answer without text and without files."""

    smtp = Reply(554, "5.6.0", "Écrivez une réponse, ou joignez un fichier.")


class TooMuchText(MailError):
    """More text than a letter of this page has."""

    smtp = Reply(552, "5.3.4", "Ce texte est trop long ; joignez-le en fichier.")


class PerhapsSent(MailError):
    """The store was too slow: nobody knows yet."""

    smtp = Reply(
        451, "4.4.1", "Votre réponse est peut-être partie ; vérifiez auprès du destinataire."
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
    return Shown("envelopes.html", {"lines": lines, "page": page, "has_more": has_more})


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
    account, envelopes, posting = call.holder().account, _envelopes(call), call.site.posting
    cover = envelopes.look(account, call.args["id"])
    if posting is None or cover.opened is None or cover.sender is None:
        raise NotFound
    written = _written(call, cover, cover.sender)
    envelopes.begin_answer(account, call.form["draft"])
    try:
        call.site.wait(posting.post(account, written, f"=_{_drawn(call)}"))
    except TimeoutError as error:
        raise PerhapsSent from error
    envelopes.answered(account, call.args["id"])
    return Goes(f"{HERE}/{call.args['id']}", done="envelopes.answered")


def _written(call: Call, cover: Cover, to: Address) -> Written:
    """The answer that the form holds. Raises NothingWritten, TooMuchText."""
    text = call.form["text"]
    files = tuple(Attached(each.name, each.octets) for each in call.files)
    if not (text.strip() or files):
        raise NothingWritten
    if len(text) > MOST_TEXT:
        raise TooMuchText
    subject = cover.subject
    if not subject.lower().startswith("re:"):
        subject = f"Re: {subject}"
    return Written(cover.box.address, to, subject, text, cover.header, files)


def _drawn(call: Call) -> str:
    octets = call.site.entropy.token_bytes(_DRAFT_OCTETS)
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


PAGES = (
    Page(HERE, Needs.SESSION, get=_list),
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
