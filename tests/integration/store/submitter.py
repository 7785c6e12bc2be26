"""Submits doses until it is killed, from four threads; prints the id of each dose when it has the receipt."""

import itertools
import os
import sys
import threading
from datetime import UTC, datetime

from store_examples import arrival

from afterdose.store.store import Store, open_store


def submit(store: Store, name: str, thread: int) -> None:
    """Submit for ever."""
    for number in itertools.count():
        resource_id = f"{name}-{thread}-{number}"
        store.committer.submit([arrival(resource_id, f"patient-{thread}", raw=b"x" * 500)])
        os.write(1, f"{resource_id}\n".encode())  # in one piece, whatever the other threads write


def main() -> None:
    """Submit to the database whose URL is the first argument."""
    url, name = sys.argv[1:]
    store = open_store(url, clock=lambda: datetime.now(UTC))
    for thread in range(4):
        threading.Thread(target=submit, args=(store, name, thread)).start()


if __name__ == "__main__":
    main()
