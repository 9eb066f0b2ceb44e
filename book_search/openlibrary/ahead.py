"""Works ahead of a consumer, in a thread. Knows nothing of what it hands on."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 0.1  # seconds between looks at whether the consumer is still there


def ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """The same items, made in a thread of their own, up to `depth` before they are asked for.

    What fails in that thread is raised here. The thread ends with the items, or when this iterator is closed.
    """
    made: queue.Queue[tuple[T | None, bool, BaseException | None]] = queue.Queue(depth)
    left = threading.Event()

    def hand_on(item: T | None, last: bool, failure: BaseException | None = None) -> bool:
        while not left.is_set():
            try:
                made.put((item, last, failure), timeout=PATIENCE)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not hand_on(item, False):
                    return
        except BaseException as failure:  # noqa: BLE001 (raised where the items are asked for)
            hand_on(None, True, failure)
        else:
            hand_on(None, True)

    worker = threading.Thread(target=work, name="ahead", daemon=True)
    worker.start()
    try:
        while True:
            item, last, failure = made.get()
            if failure is not None:
                raise failure
            if last:
                return
            yield item  # type: ignore[misc]  # an item, not the end's None
    finally:
        left.set()
        worker.join()
