from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from emojax.serve.pool import FairPool


def test_clients_take_turns() -> None:
    order: list[str] = []

    async def run() -> None:
        pool = FairPool(1)
        begun = threading.Event()
        first = asyncio.create_task(pool.run("x", lambda: begun.wait(5)))
        await asyncio.sleep(0)
        # One client asks three times before the others ask once.
        asked = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0), ("b", 1)]
        tasks = [
            asyncio.create_task(pool.run(client, lambda of=f"{client}{turn}": order.append(of)))
            for client, turn in asked
        ]
        await asyncio.sleep(0)
        begun.set()
        await asyncio.gather(first, *tasks)
        pool.close()

    asyncio.run(run())
    assert order == ["a0", "b0", "c0", "a1", "b1", "a2"]


def test_a_client_has_one_piece_of_work_at_a_time() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    async def run() -> int:
        pool = FairPool(4)
        await asyncio.gather(*(pool.run("one", work) for _ in range(6)))
        alone = most
        await asyncio.gather(*(pool.run(client, work) for client in range(4)))
        pool.close()
        return alone

    assert asyncio.run(run()) == 1
    assert most > 1


def test_errors_reach_who_asked_and_leave_the_pool_working() -> None:
    def fail() -> None:
        raise KeyError("mine")

    async def run() -> str:
        pool = FairPool(1)
        with pytest.raises(KeyError, match="mine"):
            await pool.run("a", fail)
        found = await pool.run("a", lambda: "fine")
        pool.close()
        return found

    assert asyncio.run(run()) == "fine"


def test_who_leaves_before_its_turn_is_not_worked_for() -> None:
    done: list[str] = []

    async def run() -> int:
        pool = FairPool(1)
        begun = threading.Event()
        first = asyncio.create_task(pool.run("a", lambda: begun.wait(5)))
        left = asyncio.create_task(pool.run("b", lambda: done.append("b")))
        await asyncio.sleep(0)
        assert pool.waiting == 1
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        begun.set()
        await first
        await pool.run("c", lambda: done.append("c"))
        pool.close()
        return pool.waiting

    assert asyncio.run(run()) == 0
    assert done == ["c"]


def test_who_leaves_in_the_middle_waits_until_the_thread_lets_go() -> None:
    async def run() -> tuple[bool, bool]:
        pool = FairPool(1)
        inside, leave, ended = threading.Event(), threading.Event(), threading.Event()

        def work() -> None:
            inside.set()
            leave.wait(5)
            ended.set()

        task = asyncio.create_task(pool.run("a", work))
        await asyncio.to_thread(inside.wait, 5)
        task.cancel()
        await asyncio.sleep(0.05)
        early = task.done()
        leave.set()
        await asyncio.gather(task, return_exceptions=True)
        pool.close()
        return early, ended.is_set()

    assert asyncio.run(run()) == (False, True)


def test_an_error_that_nobody_waits_for_is_no_news() -> None:
    told: list[object] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        pool = FairPool(1)
        inside, leave = threading.Event(), threading.Event()

        def fail() -> None:
            inside.set()
            leave.wait(5)
            raise KeyError("late")

        task = asyncio.create_task(pool.run("a", fail))
        await asyncio.to_thread(inside.wait, 5)
        task.cancel()
        await asyncio.sleep(0.01)
        leave.set()
        await asyncio.gather(task, return_exceptions=True)
        pool.close()
        del task
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert told == []
