"""Shifts the wall clock of every Python process that finds this folder on its path, by the seconds in a file.

Intervals (``time.monotonic``) stay true, as they do when an administrator or NTP sets the clock.
"""

import os
import time
from pathlib import Path

_shift = Path(os.environ["FAULTS_CLOCK_SHIFT"])
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + float(_shift.read_text())
time.time_ns = lambda: _time_ns() + int(float(_shift.read_text()) * 1e9)
