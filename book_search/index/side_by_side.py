"""Loads that do not depend on each other, side by side: each in a thread, on a connection of its own.

Knows connections and threads; nothing of what is loaded. Postgres works for one connection on one core: while one range
is being written, the other is read from its files, checked and written on the next core.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

from book_search.index.connection import Connection

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

AT_ONCE = 2  # connections; a range may take 300 MB of memory while it is loaded


@contextmanager
def side_by_side(
    conns: Sequence[Connection], parts: Sequence[K], load: Callable[[Connection, K], V]
) -> Iterator[Callable[[K], V]]:
    """Begin to load the parts in their order, as many at a time as there are connections.

    The block gets a function that waits until a part is loaded: it returns what `load` returned, or raises what it
    raised; the other parts go on. A block that ends with an error stops the parts that are under way, and those left
    are not begun.
    """
    free: SimpleQueue[Connection] = SimpleQueue()
    for conn in conns:
        free.put(conn)

    def load_on_one(part: K) -> V:
        conn = free.get()
        try:
            return load(conn, part)
        finally:
            free.put(conn)

    with ThreadPoolExecutor(len(conns), thread_name_prefix="load") as pool:
        loads = {part: pool.submit(load_on_one, part) for part in parts}
        try:
            yield lambda part: loads[part].result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for conn in conns:
                conn.cancel_safe()
            raise
