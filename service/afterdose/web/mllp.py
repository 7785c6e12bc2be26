"""HL7 v2 over MLLP, the minimal lower layer protocol: a byte 0x0B, the message, the bytes 0x1C 0x0D.

(HL7 "Transport Specification: MLLP, Release 1".) A connection carries any number of messages, each answered before
the next is taken, so a sender's order is kept. What arrives in pieces is put together; what is not framed, too large
or silent for too long ends the connection.
"""

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from afterdose.core.errors import BadSettings, Problem
from afterdose.logs import get_logger
from afterdose.settings.mllp import MllpSettings
from afterdose.work.intake.messages import Messages, Taken

START = b"\x0b"
END = b"\x1c\r"
_MOST_SECONDS_DISCARDING = 2
_BEGINNING = 4096
"""So many bytes of a message that is too large are kept; its control id is among them."""

_log = get_logger()


class MllpServer:
    """The listeners of the settings. ``threads`` messages at a time are stored; the rest wait."""

    def __init__(self, messages: Messages, listeners: Sequence[MllpSettings], *, threads: int) -> None:
        self._messages = messages
        self._listeners = listeners
        self._threads = threads

    async def serve(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until ``stop``; messages that are being stored then are still answered.

        ``ready`` is called when every listener listens. Raises BadSettings where one of them cannot.
        """
        with ThreadPoolExecutor(self._threads, thread_name_prefix="afterdose-mllp") as pool:
            doors = [_Door(self._messages, listener, pool) for listener in self._listeners]
            async with contextlib.AsyncExitStack() as opened:
                for door in doors:
                    opened.push_async_callback(door.close)
                    await door.open()
                ready()
                await stop.wait()


class _Door:
    """One listener with its connections."""

    def __init__(self, messages: Messages, settings: MllpSettings, pool: ThreadPoolExecutor) -> None:
        self._messages = messages
        self._settings = settings
        self._pool = pool
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.Event] = {}

    async def open(self) -> None:
        """Listen. Raises BadSettings."""
        settings = self._settings
        try:
            self._server = await asyncio.start_server(
                self._connected, settings.host, settings.port, ssl=_tls(settings), limit=settings.max_message_bytes
            )
        except OSError as error:
            raise BadSettings(
                f"mllp: cannot listen on port {settings.port} ({error.strerror or type(error).__name__})"
            ) from error
        _log.info("listening for HL7 v2", source=settings.source, host=settings.host, port=settings.port)

    async def close(self) -> None:
        """Take no more messages; return when those under way are answered."""
        if self._server is not None:
            self._server.close()
        for task, busy in self._open.items():
            if not busy.is_set():
                task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        host = str((writer.get_extra_info("peername") or ("",))[0])
        if task is None or not self._may_connect(host):
            writer.close()
            return
        busy = asyncio.Event()
        self._open[task] = busy
        try:
            await self._talk(reader, writer, busy)
        except (ConnectionError, ssl.SSLError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the sender went, fell silent or was not heard out: what was not answered, it sends again
        finally:
            del self._open[task]
            writer.close()

    def _may_connect(self, host: str) -> bool:
        settings = self._settings
        if settings.peers and not any(ipaddress.ip_address(host) in network for network in settings.peers):
            _log.warning("a connection from elsewhere was closed", source=settings.source, host=host)
            return False
        if len(self._open) >= settings.max_connections:
            _log.warning("a connection too many was closed", source=settings.source, host=host)
            return False
        return True

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, busy: asyncio.Event) -> None:
        seconds = self._settings.idle_timeout.total_seconds()
        while self._server is not None and self._server.is_serving():
            try:
                message = await self._frame(reader)
            except asyncio.LimitOverrunError:
                await self._refuse(reader, writer)
                return
            if message is None:
                return
            busy.set()
            taken = await self._take(message)
            if taken is None:
                return
            if taken.reply.body:
                writer.write(START + taken.reply.body + END)
                await asyncio.wait_for(writer.drain(), seconds)
            busy.clear()

    async def _frame(self, reader: asyncio.StreamReader) -> bytes | None:
        """The next message; None at the end of the connection, or where what comes is no frame or does not end.

        A sender that breaks off and begins anew on the same connection is heard from where it began anew: of what it
        did not end, it was never told that it is stored.
        """
        seconds, source = self._settings.idle_timeout.total_seconds(), self._settings.source
        begun = await asyncio.wait_for(_begins(reader), seconds)
        if not begun:
            if begun is False:
                _log.warning("what is not framed was not taken", source=source)
            return None
        try:
            framed = await asyncio.wait_for(reader.readuntil(END), seconds)
        except (TimeoutError, asyncio.IncompleteReadError) as unfinished:
            _log.warning("a frame that did not end was not taken", source=source, error=type(unfinished).__name__)
            return None
        return framed.removesuffix(END).rpartition(START)[2]

    async def _take(self, message: bytes) -> Taken | None:
        """What became of a message; None where that is not known, and so the sender must not be told anything."""
        source = self._settings.source
        taking = asyncio.get_running_loop().run_in_executor(self._pool, self._messages.take, message, source)
        await asyncio.wait([taking])
        error = taking.exception()
        if error is not None:
            _log.error("an error that was not expected", source=source, exc_info=error)
            return None
        return taking.result()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a message that is too large; its beginning is kept, the rest of it is not read."""
        settings = self._settings
        beginning = await reader.read(_BEGINNING)
        problem = Problem("too-long", "", f"the message is larger than {settings.max_message_bytes} bytes")
        loop = asyncio.get_running_loop()
        taken = await loop.run_in_executor(self._pool, self._messages.refuse, beginning, settings.source, problem)
        writer.write(START + taken.reply.body + END)
        await asyncio.wait_for(writer.drain(), settings.idle_timeout.total_seconds())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_discard(reader), _MOST_SECONDS_DISCARDING)


async def _discard(reader: asyncio.StreamReader) -> None:
    """Let a sender finish, which would not see our answer if the connection broke while it still sends."""
    while await reader.read(65_536):
        pass


async def _begins(reader: asyncio.StreamReader) -> bool | None:
    """Whether a frame begins; None at the end of the connection."""
    while (first := await reader.read(1)) and first in (b"\r", b"\n"):
        pass
    return first == START if first else None


def _tls(settings: MllpSettings) -> ssl.SSLContext | None:
    if settings.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise BadSettings(f"mllp: certificate, key or client_ca cannot be used ({type(error).__name__})") from error
    return context
