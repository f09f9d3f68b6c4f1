"""A TCP proxy between the product and one of its servers: it cuts connections, freezes them, or leads elsewhere."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Coroutine
from typing import Any

from support.process import free_port

_CHUNK = 65_536

Address = tuple[str, int]


class Proxy:
    """Listens on a free port of the loopback as long as it lives; `target` may change; None: nobody is there."""

    def __init__(self, target: Address | None, seed: str) -> None:
        self.port = free_port()
        self.target = target
        self._random = random.Random(seed)  # noqa: S311  no secret is made of it
        self._cuts = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._call(self._listen())

    # ------------------------------------------------------------------------------------------------------- faults

    def cut_replies(self, number: int) -> None:
        """End so many connections in the middle of the next replies: the server did what it was asked for."""
        self._cuts = number

    def freeze(self) -> None:
        """Let no byte through, in either direction."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def thaw(self) -> None:
        self._loop.call_soon_threadsafe(self._flowing.set)

    def cut_all(self) -> None:
        """End all connections."""
        self._call(self._abort_all())

    def lead_to(self, target: Address | None) -> None:
        """From now on to another server; what is connected is cut."""
        self.target = target
        self.cut_all()

    def close(self) -> None:
        self.thaw()
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -------------------------------------------------------------------------------------------------- its own loop

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            await self._join(reader, writer)
        self._drop(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.target is None:
            return
        back, forth = await asyncio.open_connection(*self.target)
        self._writers.add(forth)
        try:
            pumps = [asyncio.create_task(self._pump(reader, forth, reply=False))]
            pumps.append(asyncio.create_task(self._pump(back, writer, reply=True)))
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._drop(forth)
            self._drop(writer)
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reply: bool) -> None:
        while data := await reader.read(_CHUNK):
            await self._flowing.wait()
            if reply and self._cuts > 0:
                self._cuts -= 1
                writer.write(data[: self._random.randrange(len(data))])
                await writer.drain()
                return
            writer.write(data)
            await writer.drain()

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()

    async def _abort_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _end(self) -> None:
        self._server.close()
        await self._abort_all()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
