"""Logging in by a hospital's own provider, and back; then the code as for everybody (T29, SEED-08).

The way there is a link, because browsers hold a form to this site (`form-action`); nothing here is
changed by it. The way back comes from another site, so that of our cookies it has the ticket alone.
"""

from __future__ import annotations

from mssmtp.provider_login import ProviderLogin
from mssmtp.web.page import Answer, Call, Keep, Leaves, Needs, NotFound, Page, Shown

WAY, BACK = "connexion/etablissement", "retour"


def _get_way(call: Call) -> Answer:
    started = call.site.wait(_providers(call).start(_known(call)))
    return Leaves(started.url, Keep(ticket=started.ticket))


def _get_back(call: Call) -> Answer:
    work = _providers(call).finish(_known(call), call.ticket, call.raw_query)
    attempt = call.site.wait(work)
    return Shown("onward.html", {"path": "connexion/code"}, keep=Keep(attempt=attempt))


def _providers(call: Call) -> ProviderLogin:
    if call.site.providers is None:
        raise NotFound
    return call.site.providers


def _known(call: Call) -> str:
    name = call.args["name"]
    if name not in {each.name for each in call.site.settings.providers}:
        raise NotFound
    return name


PAGES = (
    Page(f"{WAY}/{{name}}", Needs.NOBODY, get=_get_way),
    Page(f"{BACK}/{{name}}", Needs.NOBODY, get=_get_back),
)
