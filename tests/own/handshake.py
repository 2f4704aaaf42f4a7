"""A handshake in memory: what a client with that server name is shown, and whether it verifies."""

from __future__ import annotations

import ssl

from cryptography import x509

from mssmtp.tls import Engine, ServerContext, peer_chain


def presented_to(context: ServerContext, server_name: str | None) -> tuple[x509.Certificate, ...]:
    """The chain a client that verifies nothing gets to see."""
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lax.check_hostname = False
    lax.verify_mode = ssl.CERT_NONE
    return peer_chain(shake(context.engine(), lax, server_name))


def shake(engine: Engine, client: ssl.SSLContext, server_name: str | None) -> ssl.SSLObject:
    """Both sides until the client is content. Raises ssl.SSLError when it is not."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = client.wrap_bio(incoming, outgoing, server_hostname=server_name)
    for _ in range(10):
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            engine.feed(outgoing.read())
            engine.handshake()
            incoming.write(engine.take())
        else:
            return session
    raise AssertionError("the handshake does not end")
