"""Work in the background that goes on until it is told to stop, whatever goes wrong in it."""

import threading
from collections.abc import Callable

from afterdose.logs import get_logger

_PAUSE = 5.0

_log = get_logger()


def persist(work: Callable[[], None], stop: threading.Event, *, pause: float = _PAUSE) -> None:
    """Work, and after an error that was not expected work again: a thread that ended would be missed by nobody.

    ``work`` returns when it is done, or told to stop. ``pause``: seconds after an error.
    """
    while not stop.is_set():
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it was, senders are told that their doses are cared for
            _log.error("what works in the background failed and begins again", exc_info=error)
            stop.wait(pause)
        else:
            return
