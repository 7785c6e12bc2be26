"""What the garbage collector need not look at again."""

import gc


def settle() -> None:
    """Take everything that has been loaded out of its sight: modules, content and tables stay until the process ends.

    A full collection would go through all of it again and again, and hold every thread for fifty milliseconds each time
    (https://docs.python.org/3/library/gc.html#gc.freeze).
    """
    gc.collect()
    gc.freeze()
