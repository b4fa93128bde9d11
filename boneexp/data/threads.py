"""Work on many files at once, in order and never far ahead.

Threads are enough: decoding, hashing and resizing let go of the interpreter's lock.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[int, int], None]  # done, of how many


def in_order(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, computed by `workers` threads (default: one per core).

    At most eight results per worker wait to be taken, so memory stays small and an interruption ends soon.
    """
    threads = workers or available_cores()
    waiting = iter(items)
    pool = ThreadPoolExecutor(threads)
    try:
        ahead = deque(pool.submit(function, item) for item in islice(waiting, 8 * threads))
        for done in range(1, len(items) + 1):
            result = ahead.popleft().result()
            ahead.extend(pool.submit(function, item) for item in islice(waiting, 1))
            yield result
            if progress:
                progress(done, len(items))
    finally:
        pool.shutdown(cancel_futures=True)


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
