"""The holders' door of one worker, made when somebody knocks (`admin_sockets.Knocker`)."""

from __future__ import annotations

from collections.abc import Iterable

from mssmtp.admin import Office
from mssmtp.card_login import CardLogin, CardReader
from mssmtp.config import Settings
from mssmtp.directories import Directories
from mssmtp.errors import ConfigError
from mssmtp.identity.guesses import Guesses
from mssmtp.notices import Desk
from mssmtp.portal import Portal
from mssmtp.posting import Posting
from mssmtp.provider_login import ProviderLogin
from mssmtp.providers import Providers, provider_of_psc
from mssmtp.psc_login import PscLogin
from mssmtp.tls_settings import OneCertificate
from mssmtp.tls_stdlib import http_context
from mssmtp.web.card_port import PAGES as CARD_PAGES
from mssmtp.web.card_port import CardContext, for_cards
from mssmtp.web.door import Port, WebDoor, for_browsers
from mssmtp.web.page import Page
from mssmtp.web.pages import ALL
from mssmtp.web.programs import Programs
from mssmtp.web.site import Site


def opened(
    office: Office,
    guesses: Guesses,
    pages: Iterable[Page] = ALL,
    posting: Posting | None = None,
) -> WebDoor:
    """`guesses`: of wrong passwords, counted with the other workers. `posting`: how letters are
    handed in. Raises ConfigError."""
    settings, store, clock, entropy = office.settings, office.store, office.clock, office.entropy
    files = settings.web_certificate
    if files is None:
        raise ConfigError("web.certificate_file", "is not set", "Name the portal's certificate.")
    listen = for_browsers(http_context(settings.tls, OneCertificate(files), None))
    desk = Desk.of(settings, clock)
    directories = Directories.of(settings) if settings.directories else None
    providers = Providers.of(settings, clock) if settings.providers else None
    portal = Portal(store, desk, clock, entropy, directories, providers, guesses)
    by_provider = (
        None if providers is None else ProviderLogin(store, desk, providers, clock, entropy)
    )

    psc = None if settings.psc is None else provider_of_psc(settings, settings.psc, clock)
    by_psc = None if psc is None else PscLogin(store, desk, psc, clock, entropy)
    url = _card_url(settings)
    by_card = CardLogin(store, desk, url, clock, entropy) if url else None

    async def close() -> None:
        if directories is not None:
            directories.close()
        if providers is not None:
            await providers.close()
        if psc is not None:
            await psc.close()
        if posting is not None:
            posting.close()

    site = Site(office, desk, portal, by_provider, posting, by_psc, by_card)
    programs = Programs(settings, clock)
    port = Port(settings.notices.portal_url, listen, pages, programs=programs)
    return WebDoor(site, port, close)


def opened_for_cards(office: Office, guesses: Guesses, reader: CardReader) -> WebDoor:
    """The port for cards. Raises ConfigError."""
    settings, store, clock, entropy = office.settings, office.store, office.clock, office.entropy
    files, cards = settings.web_certificate, settings.web.cards
    if files is None or cards is None:
        raise ConfigError("web.cards", "is not set", "Name the authorities of cards.")
    listen = for_cards(CardContext(settings.tls, OneCertificate(files), cards))
    desk = Desk.of(settings, clock)
    portal = Portal(store, desk, clock, entropy, None, None, guesses)

    async def close() -> None:
        """It holds nothing of its own."""

    site = Site(office, desk, portal, None, reader=reader)
    port = Port(_card_url(settings), listen, CARD_PAGES, "card", answers_once=True)
    return WebDoor(site, port, close)


def _card_url(settings: Settings) -> str:
    """How browsers reach the port for cards; "" where there is none."""
    cards, endpoint = settings.web.cards, settings.listen.card
    if cards is None or endpoint is None:
        return ""
    return cards.reached(settings.notices.portal_url, endpoint.port)
