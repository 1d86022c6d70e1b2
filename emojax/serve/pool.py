"""A few threads, shared fairly: whoever waits gets a turn before anybody gets a second one."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")


class _Task(NamedTuple):
    work: Callable[[], Any]
    done: asyncio.Future[Any]


class FairPool:
    """Runs one piece of work per client at a time, the clients in turn. Of one event loop."""

    def __init__(self, workers: int) -> None:
        """Start without work.

        Args:
            workers: threads.
        """
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="emojax")
        self._free = workers
        self._queues: dict[Hashable, collections.deque[_Task]] = {}
        # Those with work that is not begun, in the order of their turns.
        self._turns: collections.deque[Hashable] = collections.deque()
        self._busy: set[Hashable] = set()

    @property
    def waiting(self) -> int:
        """Pieces of work that are not begun."""
        return sum(map(len, self._queues.values()))

    async def run(self, client: Hashable, work: Callable[[], Result]) -> Result:
        """Return what the work returns, or raise what it raises.

        Work whose caller is cancelled before its turn is not begun.

        Args:
            client: whose turn it takes.
            work: is called in one of the threads.
        """
        task = _Task(work, asyncio.get_running_loop().create_future())
        queue = self._queues.setdefault(client, collections.deque())
        queue.append(task)
        if len(queue) == 1 and client not in self._busy:
            self._turns.append(client)
        self._begin()
        try:
            return await asyncio.shield(task.done)
        except asyncio.CancelledError:
            if task in queue:
                queue.remove(task)
                self._tidy(client)
            elif not task.done.done():
                # What the thread holds must not be given to others before it lets go.
                await asyncio.wait([task.done])
            if task.done.done() and not task.done.cancelled():
                # An error that nobody waits for any more is no news.
                task.done.exception()
            raise

    def _begin(self) -> None:
        while self._free and self._turns:
            client = self._turns.popleft()
            queue = self._queues.get(client)
            if not queue:
                continue
            task = queue.popleft()
            self._free -= 1
            self._busy.add(client)
            running = asyncio.get_running_loop().run_in_executor(self._threads, task.work)
            running.add_done_callback(
                lambda ended, of=client, to=task.done: self._end(of, ended, to)
            )

    def _end(self, client: Hashable, ended: asyncio.Future[Any], told: asyncio.Future[Any]) -> None:
        self._free += 1
        self._busy.discard(client)
        if self._queues.get(client):
            self._turns.append(client)
        error = None if ended.cancelled() else ended.exception()
        # The caller may have left.
        if not told.done():
            if ended.cancelled():
                told.cancel()
            elif error is not None:
                told.set_exception(error)
            else:
                told.set_result(ended.result())
        self._tidy(client)
        self._begin()

    def _tidy(self, client: Hashable) -> None:
        if client not in self._busy and not self._queues.get(client):
            self._queues.pop(client, None)

    def close(self) -> None:
        """Let what is begun end, and take no more."""
        self._threads.shutdown(wait=True, cancel_futures=True)
