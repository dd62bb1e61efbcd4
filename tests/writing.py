"""Appends to a log in a loop until the process is killed or superseded, and prints each success.

python tests/writing.py file|store PATH FIRST
"""

import sys
from pathlib import Path

from happened import proposed

from record.log import FileLog, Superseded
from record.store_log import StoreLog


def main() -> int:
    """Appends proposals of trials, numbered from FIRST on; prints each number once it is
    durable."""
    kind, path, first = sys.argv[1:]
    log = FileLog(Path(path)) if kind == "file" else StoreLog(Path(path))
    list(log.read())
    print("ready", flush=True)
    sys.stdin.readline()
    number = int(first)
    while True:
        try:
            log.append([proposed(number), proposed(number)])
        except Superseded as error:
            print(f"superseded: {error}", flush=True)
            return 0
        print(number, flush=True)
        number += 1


if __name__ == "__main__":
    sys.exit(main())
