"""The holders' door of one worker, made when somebody knocks (`admin_sockets.Knocker`)."""

from __future__ import annotations

from collections.abc import Iterable

from mssmtp.admin import Office
from mssmtp.directories import Directories
from mssmtp.errors import ConfigError
from mssmtp.identity.guesses import Guesses
from mssmtp.notices import Desk
from mssmtp.portal import Portal
from mssmtp.posting import Posting
from mssmtp.provider_login import ProviderLogin
from mssmtp.providers import Providers, provider_of_psc
from mssmtp.psc_login import PscLogin
from mssmtp.tls_settings import OneCertificate, http_context
from mssmtp.web.door import WebDoor
from mssmtp.web.page import Page
from mssmtp.web.pages import ALL
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
    context = http_context(settings.tls, OneCertificate(files), None)
    desk = Desk.of(settings, clock)
    directories = Directories.of(settings) if settings.directories else None
    providers = Providers.of(settings, clock) if settings.providers else None
    portal = Portal(store, desk, clock, entropy, directories, providers, guesses)
    by_provider = (
        None if providers is None else ProviderLogin(store, desk, providers, clock, entropy)
    )

    psc = None if settings.psc is None else provider_of_psc(settings, settings.psc, clock)
    by_psc = None if psc is None else PscLogin(store, desk, psc, clock, entropy)

    async def close() -> None:
        if directories is not None:
            directories.close()
        if providers is not None:
            await providers.close()
        if psc is not None:
            await psc.close()
        if posting is not None:
            posting.close()

    site = Site(office, desk, portal, by_provider, posting, by_psc)
    return WebDoor(site, context, close, pages)
