"""One request, in a thread: whose it is, where its form comes from, its page, its octets.

Nothing here waits for a browser; nothing decides what somebody may do with a letter or an account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import quote, urlencode

from cryptography import x509

from mssmtp.admin.authority import Denied, Unknown
from mssmtp.errors import ConfigError, MailError
from mssmtp.identity import LoginRefused, TooManyGuesses
from mssmtp.mail import AccountId
from mssmtp.web import cookies, headers, menu, origin
from mssmtp.web.page import (
    Answer,
    Call,
    FieldProblem,
    Form,
    Goes,
    Keep,
    Leaves,
    Needs,
    NotFound,
    Page,
    Sent,
    Shown,
    Uploaded,
)
from mssmtp.web.routing import Routes
from mssmtp.web.sessions import Session, Sessions, new_token
from mssmtp.web.showing import Showing
from mssmtp.web.site import Site
from mssmtp.web.texts import Problem, catalogue, language_of, problem_of

LOGIN = "connexion"
_NOT_THERE = (NotFound, Denied, Unknown)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has been read whole. `host` is one of ours."""

    method: str
    host: str
    path: str
    page: Page
    address: str
    headers: Mapping[str, str] = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    args: Mapping[str, str] = field(default_factory=dict)
    query: Form = field(default_factory=Form, repr=False)
    raw_query: str = field(default="", repr=False)
    form: Form = field(default_factory=Form, repr=False)
    files: tuple[Uploaded, ...] = field(default=(), repr=False)
    chain: tuple[x509.Certificate, ...] = field(default=(), repr=False)

    def cookie(self, name: str) -> str:
        """What the browser brings."""
        return cookies.brought(self.cookies, name)


@dataclass(frozen=True, slots=True)
class Made:
    """An answer, ready for the wire. `blocks`: of a file. `delay_s`: it is held back so long."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)
    blocks: Iterable[bytes] | None = field(default=None, repr=False)
    cookies: tuple[str, ...] = field(default=(), repr=False)
    delay_s: float = 0.0


class Answering:
    """One per door; thread-safe."""

    def __init__(self, site: Site, sessions: Sessions, showing: Showing, routes: Routes) -> None:
        self._site, self._sessions = site, sessions
        self._showing, self._routes = showing, routes

    def whose(self, token: str) -> AccountId | None:
        """Before more is read than a stranger may send (ATT-41)."""
        session = self._sessions.of(token)
        return None if session is None else session.account

    def answer(self, asked: Asked) -> Made:
        """What `asked` is answered. Raises what is a bug of ours."""
        turn = self._turn(asked, None)
        try:
            session = self._sessions.of(asked.cookie(cookies.SESSION))
            turn = self._turn(asked, session)
            return turn.played()
        except (MailError, ConfigError) as error:  # of a page that has no form to show again
            return turn.shown(_failure(error), problem=problem_of(error, turn.language))

    def _turn(self, asked: Asked, session: Session | None) -> _Turn:
        return _Turn(self._site, self._sessions, self._showing, self._routes, asked, session)

    def failed(self, language: str, template: str, status: int, **values: object) -> Made:
        """A page about us, for whoever it is: full, unknown, broken."""
        given = _bare(self._site, self._routes) | values
        body = self._showing.page(template, language, given)
        return Made(status, headers.OF_PAGES | {"Content-Type": headers.HTML}, body)


class _Turn:
    """One request and its answer."""

    def __init__(
        self,
        site: Site,
        sessions: Sessions,
        showing: Showing,
        routes: Routes,
        asked: Asked,
        session: Session | None,
    ) -> None:
        self._site, self._sessions, self._showing, self._routes = site, sessions, showing, routes
        self._asked, self._session = asked, session
        chosen = asked.cookie(cookies.LANGUAGE) or (session.person.language if session else "")
        self.language = language_of(chosen, asked.headers.get("Accept-Language", ""))
        self._before = asked.cookie(cookies.BEFORE)
        self._set: list[str] = []

    def played(self) -> Made:
        """The page's answer."""
        page, session = self._asked.page, self._session
        if page.needs is Needs.SESSION and session is None:
            return self._log_in_first()
        if self._asked.method == "POST":
            return self._posted(page)
        return self._made(self._handled(page, post=False))

    def _log_in_first(self) -> Made:
        """After the login the page that was asked for comes.

        A link in a mail leads here from another site, and strict cookies stay behind: the same page
        asked for by a page of ours has them.
        """
        asked = self._asked
        is_sent_here = asked.headers.get("Sec-Fetch-Site") == "cross-site"
        if asked.method != "POST" and is_sent_here:
            return self.shown(Shown("onward.html", {"path": asked.path}))
        query = {} if asked.method == "POST" else {"vers": asked.path}
        had_one = asked.cookie(cookies.SESSION) != ""
        done = "session.over" if had_one else ""
        return self._made(Goes(LOGIN, done, query, Keep(leaves=True) if had_one else None))

    def _posted(self, page: Page) -> Made:
        asked, session = self._asked, self._session
        key = session.form_key if session is not None else self._before
        error: MailError | ConfigError
        field_name = ""
        try:
            origin.demand_own(asked.headers, asked.host, key, asked.form[origin.FIELD])
            return self._made(self._handled(page, post=True))
        except FieldProblem as wrong:
            error, field_name = wrong.error, wrong.name
        except (MailError, ConfigError) as refused:
            error = refused
        if page.get is None or isinstance(error, _NOT_THERE):
            raise error
        try:
            shown = self._handled(page, post=False)
        except _NOT_THERE:  # what was refused is told, not what it was about
            raise error from None
        problem = problem_of(error, self.language, field_name)
        if not isinstance(shown, Shown):
            raise error
        made = self.shown(replace(shown, status=_status(error)), problem=problem)
        delay_s = error.delay_s if isinstance(error, LoginRefused) else 0.0
        return replace(made, delay_s=delay_s)

    def _handled(self, page: Page, *, post: bool) -> Answer:
        handler = page.post if post else page.get
        if handler is None:
            raise NotFound
        asked = self._asked
        return handler(
            Call(
                site=self._site,
                language=self.language,
                address=asked.address,
                now=self._site.clock.now(),
                session=self._session,
                args=MappingProxyType(dict(asked.args)),
                query=asked.query,
                raw_query=asked.raw_query,
                form=asked.form,
                files=asked.files,
                chain=asked.chain,
                attempt=asked.cookie(cookies.ATTEMPT),
                ticket=asked.cookie(cookies.TICKET),
                agent=asked.headers.get("User-Agent", ""),
                may_go=self._routes.may_go,
            )
        )

    # ------------------------------------------------------------ what comes of it

    def _made(self, answer: Answer) -> Made:
        if isinstance(answer, Sent):
            found = headers.of_file(answer.media_type, answer.name)
            return Made(HTTPStatus.OK, found, blocks=answer.blocks)
        if answer.keep is not None:
            self._keep(answer.keep)
        if isinstance(answer, Shown):
            return self.shown(answer)
        if isinstance(answer, Leaves):
            return self._sent_to(answer.url)
        if answer.done:
            self._set.append(cookies.kept(cookies.DONE, answer.done, cookies.HALF_WAY))
        query = f"?{urlencode(answer.query)}" if answer.query else ""
        secret = f"#{quote(answer.fragment, safe='')}" if answer.fragment else ""
        return self._sent_to(self._showing.url(answer.path) + query + secret)

    def _sent_to(self, url: str) -> Made:
        return Made(
            HTTPStatus.SEE_OTHER, headers.OF_PAGES | {"Location": url}, cookies=tuple(self._set)
        )

    def shown(self, shown: Shown, problem: Problem | None = None) -> Made:
        """A template, with what every template is given."""
        asked, session = self._asked, self._session
        done = asked.cookie(cookies.DONE)
        if done:
            self._set.append(cookies.forgotten(cookies.DONE))
        if session is None and not self._before:
            self._before = new_token(self._site.entropy)
            self._set.append(cookies.kept(cookies.BEFORE, self._before))
        key = session.form_key if session is not None else self._before
        given = _bare(self._site, self._routes) | {
            "session": session,
            "problem": problem,
            "form": asked.form,
            "path": asked.path,
            "done": done if done in catalogue(self.language) else "",
            "csrf_value": origin.form_value(key),
            **shown.values,
        }
        body = self._showing.page(shown.template, self.language, given)
        found = headers.OF_PAGES | {"Content-Type": headers.HTML}
        return Made(shown.status, found, body, cookies=tuple(self._set))

    def _keep(self, keep: Keep) -> None:
        """A new token at each step up, and none of the steps before stays good."""
        if keep.leaves or keep.login is not None:
            if self._session is not None:
                self._sessions.end(self._session)
            self._session = None
            self._set += [cookies.forgotten(name) for name in (cookies.SESSION, cookies.ATTEMPT)]
            self._set.append(cookies.forgotten(cookies.BEFORE))
        if keep.login is not None:
            asked = self._asked
            agent = asked.headers.get("User-Agent", "")
            token = self._sessions.open(keep.login, keep.by, agent, asked.address)
            self._set.append(cookies.kept(cookies.SESSION, token))
        if keep.attempt:
            self._set.append(cookies.kept(cookies.ATTEMPT, keep.attempt, cookies.HALF_WAY))
        if (keep.attempt or keep.login) and self._asked.cookie(cookies.TICKET):
            self._set.append(cookies.forgotten(cookies.TICKET))
        if keep.ticket:
            self._set.append(cookies.kept(cookies.TICKET, keep.ticket, cookies.HALF_WAY))
        if keep.language:
            self._set.append(cookies.kept(cookies.LANGUAGE, keep.language, cookies.A_YEAR))


def _bare(site: Site, routes: Routes) -> dict[str, object]:
    """What every template finds, of nobody in particular."""
    return {
        "brand": site.settings.notices.brand,
        "menu": tuple(each for each in menu.ENTRIES if routes.may_go(each[0])),
        "session": None,
        "problem": None,
        "form": Form(),
        "path": "",
        "done": "",
        "csrf_value": "",
    }


def _failure(error: MailError | ConfigError) -> Shown:
    return Shown("failure.html", status=_status(error))


def _status(error: MailError | ConfigError) -> int:
    if isinstance(error, _NOT_THERE):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, origin.ForeignForm):
        return HTTPStatus.FORBIDDEN
    if isinstance(error, TooManyGuesses):
        return HTTPStatus.TOO_MANY_REQUESTS
    if isinstance(error, MailError) and error.reply.is_temporary:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.UNPROCESSABLE_ENTITY
