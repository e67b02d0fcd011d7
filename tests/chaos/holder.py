"""Another process that holds the write lock of a SQLite file: `python holder.py FILE SECONDS [PAUSE REPEATS]`."""

import sqlite3
import sys
import time


def main() -> None:
    """Hold it so long, and again after each pause; a line for each time that it is held, and one when it is let go."""
    path, seconds = sys.argv[1], float(sys.argv[2])
    pause, repeats = (float(sys.argv[3]), int(sys.argv[4])) if len(sys.argv) > 3 else (0.0, 1)
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    for _ in range(repeats):
        connection.execute("BEGIN EXCLUSIVE")
        print("held", flush=True)
        time.sleep(seconds)
        connection.execute("ROLLBACK")
        print("free", flush=True)
        time.sleep(pause)


if __name__ == "__main__":
    main()
