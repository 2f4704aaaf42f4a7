"""An identity that is shown elsewhere: linked to the account, then a login without a password
(SEED-12).

What comes back comes from another site, or from a port of another name, so that strict cookies stay
behind: the page of the return asks the same again as a page of ours, which knows the session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mssmtp.identity.detour import Ticket
from mssmtp.linking import Shown
from mssmtp.provider_login import Started
from mssmtp.ticketed_login import TicketedLogin
from mssmtp.web.page import Answer, Call, Goes, Keep, Leaves, Needs, Page
from mssmtp.web.pages.login import HOME
from mssmtp.web.pages.logins import IDENTITIES, code_page, same_again


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """One kind of identity. `root`: of the paths of its login; `link`, `code`: those of its link.

    `behind` raises NotFound where the operator has none of this kind; `start` and `shown` ask it.
    `title` is the text above the code, `linked` the one after it.
    """

    root: str
    link: str
    code: str
    title: str
    linked: str
    behind: Callable[[Call], TicketedLogin]
    start: Callable[[Call], Started]
    shown: Callable[[Call], tuple[Ticket, Shown]]

    @property
    def pages(self) -> tuple[Page, ...]:
        """The way there, for a login or a link; the way back; the code that links."""
        return (
            Page(f"{self.root}/connexion", Needs.NOBODY, get=self._get_login),
            Page(self.link, Needs.SESSION, get=self._get_way),
            Page(f"{self.root}/retour", Needs.NOBODY, get=self._get_back),
            Page(f"{self.root}/suite", Needs.NOBODY, get=self._get_go_on),
            Page(self.code, Needs.SESSION, get=self._get_code, post=self._post_code),
        )

    def _get_login(self, call: Call) -> Answer:
        return Goes(HOME) if call.session is not None else self._get_way(call)

    def _get_way(self, call: Call) -> Answer:
        """For a login, or within a session to link."""
        started = self.start(call)
        return Leaves(started.url, Keep(ticket=started.ticket))

    def _get_back(self, call: Call) -> Answer:
        self.behind(call)
        return same_again(call, f"{self.root}/suite")

    def _get_go_on(self, call: Call) -> Answer:
        login = self.behind(call)
        ticket, shown = self.shown(call)
        if call.session is None:
            return Goes(HOME, keep=Keep(login=login.log_in(ticket, shown), by=login.kind))
        attempt = login.begin(call.session.account, ticket, shown)
        return Goes(self.code, keep=Keep(attempt=attempt))

    def _get_code(self, call: Call) -> Answer:
        self.behind(call)
        return code_page(call, self.title, self.code)

    def _post_code(self, call: Call) -> Answer:
        self.behind(call).finish(call.attempt, call.form["code"])
        return Goes(IDENTITIES, done=self.linked)
