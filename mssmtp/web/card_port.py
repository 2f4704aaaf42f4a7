"""The port that asks browsers for the certificate of a CPx card, and does nothing else (SEED-12).

Whatever is shown, or nothing, passes the handshake: a browser makes of a refusal there a page of
its own that explains nothing. It is judged by the request, and the browser goes back to the pages,
which tell what was wrong in the language of its reader. One answer ends the connection, and no
session of TLS is taken up again: who comes next has shown a card anew.
"""

from __future__ import annotations

import asyncio
import logging
import socket

from OpenSSL import SSL

from mssmtp import metrics, tls
from mssmtp.card_login import READ
from mssmtp.config import TlsSettings
from mssmtp.config_web import CardSettings
from mssmtp.pki import Anchors
from mssmtp.tls_settings import OneCertificate, OwnCertificate, ServerContext
from mssmtp.web.connections import Server
from mssmtp.web.door import Listen
from mssmtp.web.page import Answer, Call, Leaves, Needs, NotFound, Page
from mssmtp.web.pages import language
from mssmtp.web.pages.card import BACK

logger = logging.getLogger(__name__)

_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


class CardContext(ServerContext):
    """Asks for the certificate of a card. Raises ConfigError."""

    def __init__(
        self, settings: TlsSettings, certificate: OneCertificate, cards: CardSettings
    ) -> None:
        self._authorities = Anchors.load(cards.anchors_file).certificates
        self._ceiling = _VERSIONS[cards.max_version]
        super().__init__(settings, certificate, ask_certificate=True)

    def _build(self, own: OwnCertificate) -> SSL.Context:
        context = super()._build(own)
        # RFC 8446 4.2.4, RFC 5246 7.4.4: of their certificates browsers offer those of these
        # authorities, so that nobody is asked to choose among others.
        for each in self._authorities:
            context.add_client_ca(each)
        context.set_max_proto_version(self._ceiling)
        return context


def for_cards(context: CardContext) -> Listen:
    """TLS that asks for a card and lets everybody through to be told."""

    def failed(reason: str) -> None:
        metrics.refused.labels("web", "0", "handshake").inc()
        logger.info("card port: handshake failed", extra={"why": reason})

    async def listen(sock: socket.socket, server: Server) -> asyncio.AbstractServer:
        return await tls.listen(sock, server, context, on_failure=failed)

    return listen


def _get(call: Call) -> Answer:
    reader = call.site.reader
    if reader is None:
        raise NotFound
    call.site.wait(reader.settle(call.chain))
    answer = reader.read(call.chain, call.raw_query)
    return Leaves(f"{call.site.settings.notices.portal_url}/{BACK}?{answer}")


def _home(call: Call) -> Answer:
    return Leaves(f"{call.site.settings.notices.portal_url}/")


PAGES = (
    Page(READ, Needs.NOBODY, get=_get),
    Page("", Needs.NOBODY, get=_home),
    *language.PAGES,
)
