"""A door without sockets: octets straight into a connection, for what is done a thousand times."""

from __future__ import annotations

import asyncio

from cryptography import x509

from mssmtp.smtp_in import _SmtpDoor


class Plug(asyncio.Transport):
    """The wire of one secured connection; `said` is everything the server has written."""

    def __init__(
        self,
        door: _SmtpDoor,
        address: str = "192.0.2.1",
        *,
        certificate: x509.Certificate | None = None,
    ) -> None:
        super().__init__(
            {
                "peername": (address, 4_000),
                "tls_version": "TLSv1.3",
                "tls_cipher": "TLS_AES_256_GCM_SHA384",
                "peer_chain": () if certificate is None else (certificate,),
            }
        )
        self.said = bytearray()
        self._closing = False
        self.link = door.machine(door)
        self.link.connection_made(self)

    # ------------------------------------------------------------ what a server calls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += data

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self.link.connection_lost, None)

    def abort(self) -> None:
        self.close()

    # ------------------------------------------------------------ what a client does

    @property
    def is_over(self) -> bool:
        """The server has ended it."""
        return self.link.task is None or self.link.task.done()

    async def quiet(self) -> None:
        """Until the server waits for more octets, or has ended."""
        while self._is_busy():  # noqa: ASYNC110 - a client has no event for it
            await asyncio.sleep(0)

    def _is_busy(self) -> bool:
        waiter = self.link._waiter
        return not self.is_over and (waiter is None or waiter.done())

    async def say(self, octets: bytes) -> list[str]:
        """Everything answered to `octets`, line by line."""
        await self.quiet()
        self.said.clear()
        if not self._closing:
            self.link.data_received(octets)
        await self.quiet()
        return self.said.decode("ascii").splitlines()

    async def cut(self) -> None:
        """The network is gone."""
        self._closing = True
        self.link.connection_lost(None)
        if self.link.task is not None:
            await asyncio.wait({self.link.task})


def codes(lines: list[str]) -> list[str]:
    """The code of each reply; continuation lines are left out."""
    return [line[:3] for line in lines if line[3:4] != "-"]
