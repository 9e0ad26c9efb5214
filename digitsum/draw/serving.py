"""How the page is served: what those who connect can take is bounded, and a signal ends it."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

from starlette.applications import Starlette
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 100  # at once; a browser makes six
LIFETIME = 20.0  # seconds of a connection; a browser makes another one


def serve(app: Starlette, listening: socket.socket) -> None:
    """Answers until a signal arrives, which is then raised."""
    config = Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="on",
        loop="asyncio",
        backlog=CONNECTIONS,  # as many are accepted in one go
        timeout_graceful_shutdown=5,
        server_header=False,
        log_level="error",  # what is wrong with a request is in its answer
    )
    _Server(config).run(sockets=[listening])


class _Connection(H11Protocol):
    """A connection that ends, whatever the other side sends or leaves unsent."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.end = self.loop.call_later(LIFETIME, self._end)
        if len(self.connections) > CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.end.cancel()
        super().connection_lost(exc)

    def _end(self) -> None:
        """Closes it, after the answer to a request that is there; one that nobody reads is lost."""
        self.end = self.loop.call_later(LIFETIME, self.transport.abort)
        if not self.transport.is_closing():
            self.shutdown()


class _Server(Server):
    """uvicorn's server, which leaves at once and takes a closed terminal for a signal to do so."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_report)
        self.replaced = {}
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            self.replaced[signal.SIGHUP] = signal.signal(signal.SIGHUP, self.handle_exit)
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await asyncio.sleep(0.1)  # those that are being accepted
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)
        for number, handler in self.replaced.items():
            signal.signal(number, handler)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Keeps quiet of what the other side, or the lack of file descriptors, does to a socket.

    asyncio tries again a second later, for each of hundreds of connections that wait.
    """
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)
