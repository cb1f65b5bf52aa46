#!/usr/bin/env python3
"""What the servers do, live in the terminal, until q or Ctrl-C: ``make top``; ``--once`` prints one table.

A server that goes away is said to, and shown again as soon as it is back.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live

from workshop.errors import SettingsError, WorkshopError, print_error
from workshop.settings import Settings, load_settings
from workshop.stack.activity import read
from workshop.stack.tables import activity

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Show until told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two readings (default 1)")
    parser.add_argument("--once", action="store_true", help="print rates over one interval, and end")
    options = parser.parse_args(arguments)
    try:
        if options.interval <= 0:
            raise SettingsError(f"--interval {options.interval}: expected a positive number of seconds")
        settings = load_settings()
        if options.once:
            earlier = read(settings)
            time.sleep(options.interval)
            Console(soft_wrap=True).print(activity(read(settings), earlier))
            return 0
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise SettingsError("no terminal to draw on", hint="python scripts/top.py --once, or make status")
        with single_keys():
            watch(settings, options.interval)
    except WorkshopError as error:
        print_error(error)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def watch(settings: Settings, interval: float) -> None:
    """Draw a reading each interval until the key q."""
    earlier = read(settings)
    with Live(activity(earlier), screen=True, auto_refresh=False) as live:
        while not pressed("q", interval):
            now = read(settings)
            head = (
                f"[bold]{time.strftime('%H:%M:%S')}[/]  rates of the last {now.taken - earlier.taken:.1f} s   q quits\n"
            )
            live.update(Group(head, activity(now, earlier)), refresh=True)
            earlier = now


def pressed(key: str, seconds: float) -> bool:
    """Whether a key is pressed within a number of seconds; other keys are passed over. A closed input counts as it."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0]:
            typed = os.read(sys.stdin.fileno(), 1)
            if not typed or typed.decode(errors="replace").lower() == key:
                return True
    return False


@contextmanager
def single_keys() -> Iterator[None]:
    """Take keys as they are pressed and without echo; the terminal is as before at the end."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


if __name__ == "__main__":
    sys.exit(main())
