"""Dates of AQL: reading, writing and calculating. Source: the page "Date functions in AQL" of ArangoDB 3.12.

A moment is a naive ``datetime`` in UTC, to the millisecond. Years run from 1 to 9999; ArangoDB also knows year 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aqlite.aql.values import Number, Value, is_number
from aqlite.errors import ArangoError

EPOCH = datetime(1970, 1, 1)
MILLISECOND = timedelta(milliseconds=1)
MIN_TIMESTAMP, MAX_TIMESTAMP = -62_135_596_800_000, 253_402_300_799_999

_DATE_TEXT = re.compile(
    r"\s*\+?(?P<year>\d{1,4})(?:-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2}))?)?"
    r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?)?"
    r"(?P<zone>Z|[+-]\d\d:?\d\d)?\s*",
    re.ASCII | re.IGNORECASE,
)
_DURATION = re.compile(
    r"P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:\.(?P<fraction>\d{1,3}))?S)?)?",
    re.ASCII,
)
_UNIT_NAMES = {
    "year": ("y", "year", "years"),
    "month": ("m", "month", "months"),
    "week": ("w", "week", "weeks"),
    "day": ("d", "day", "days"),
    "hour": ("h", "hour", "hours"),
    "minute": ("i", "minute", "minutes"),
    "second": ("s", "second", "seconds"),
    "millisecond": ("f", "millisecond", "milliseconds"),
}
_UNITS = {alias: unit for unit, aliases in _UNIT_NAMES.items() for alias in aliases}
UNIT_LENGTH = {
    "year": timedelta(days=365.2425),
    "month": timedelta(days=365.2425 / 12),
    "week": timedelta(weeks=1),
    "day": timedelta(days=1),
    "hour": timedelta(hours=1),
    "minute": timedelta(minutes=1),
    "second": timedelta(seconds=1),
    "millisecond": MILLISECOND,
}


def unit_name(text: Value) -> str | None:
    """Canonical name of a time unit ("y", "Years" -> "year"), None when it is none."""
    return _UNITS.get(text.lower()) if type(text) is str else None


# --- reading and writing --------------------------------------------------------------------------------------
def is_date_string(value: Value) -> bool:
    """Whether the value is a string in the format of a date; the date itself may be invalid."""
    return type(value) is str and len(value) < 100 and _DATE_TEXT.fullmatch(value) is not None


def parse_date(value: Value) -> datetime | None:
    """Moment of a timestamp in milliseconds or of an ISO 8601 string; None for anything else."""
    if is_number(value):
        return from_timestamp(value)
    match = _DATE_TEXT.fullmatch(value) if type(value) is str and len(value) < 100 else None
    if match is None:
        return None
    year, month, day, hour, minute, second = (
        int(match[name] or default)
        for name, default in (("year", 0), ("month", 1), ("day", 1), ("hour", 0), ("minute", 0), ("second", 0))
    )
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour <= 24 and minute <= 59 and second <= 59):
        return None
    milliseconds = int((match["fraction"] or "0")[:3].ljust(3, "0"))
    moment = civil_moment(year, month, day, hour, minute, second, milliseconds)
    return None if moment is None else shifted(moment, -_offset(match["zone"]))


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone in "Zz":
        return timedelta(0)
    digits = zone[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset


def civil_moment(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, millisecond: int = 0
) -> datetime | None:
    """Moment of date parts; parts above their range carry over into the larger ones. None outside years 1 to 9999."""
    try:
        first_of_month = datetime(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)
        return first_of_month + timedelta(
            days=day - 1, hours=hour, minutes=minute, seconds=second, milliseconds=millisecond
        )
    except (ValueError, OverflowError):
        return None


def from_timestamp(milliseconds: Number) -> datetime | None:
    """Moment of a Unix timestamp in milliseconds, None outside years 1 to 9999."""
    if not MIN_TIMESTAMP <= milliseconds <= MAX_TIMESTAMP:
        return None
    return EPOCH + timedelta(milliseconds=int(milliseconds))


def timestamp(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return (moment - EPOCH) // MILLISECOND


def iso_text(moment: datetime, suffix: str = "Z") -> str:
    """``YYYY-MM-DDTHH:MM:SS.mmmZ``."""
    return moment.isoformat(timespec="milliseconds") + suffix


# --- calculating ----------------------------------------------------------------------------------------------
def shifted(moment: datetime, by: timedelta) -> datetime | None:
    """Moment plus a duration, None outside years 1 to 9999."""
    try:
        return moment + by
    except OverflowError:
        return None


def add_units(moment: datetime, amount: Number, unit: str) -> datetime | None:
    """Moment plus so many units; months keep the day and carry over when the month is too short."""
    if unit in ("year", "month"):
        months = int(amount * 12) if unit == "year" else int(amount)
        clock = moment - datetime(moment.year, moment.month, moment.day)
        day = civil_moment(moment.year, moment.month + months, moment.day) if abs(months) < 120_000 else None
        return None if day is None else shifted(day, clock)
    try:
        return shifted(moment, amount * UNIT_LENGTH[unit])
    except OverflowError:
        return None


def parse_duration(text: str) -> list[tuple[Number, str]] | None:
    """(amount, unit) pairs of an ISO 8601 duration such as ``P1Y2M3W4DT5H6M7.89S``; None when it is none."""
    match = _DURATION.fullmatch(text) if len(text) < 100 else None
    if match is None or text.endswith(("P", "T")):
        return None
    parts = [(int(match[f"{unit}s"]), unit) for unit in UNIT_LENGTH if unit != "millisecond" and match[f"{unit}s"]]
    if match["fraction"]:
        parts.append((int(match["fraction"].ljust(3, "0")), "millisecond"))
    return parts


def truncated(moment: datetime, unit: str) -> datetime:
    """Moment with everything below the unit (year ... millisecond, not week) set to its start."""
    fields = ("year", "month", "day", "hour", "minute", "second")
    kept = fields[: fields.index(unit) + 1] if unit in fields else fields
    parts = {name: getattr(moment, name) for name in kept}
    start = datetime(**{"month": 1, "day": 1, **parts})
    return moment if unit == "millisecond" else start


def rounded_down(moment: datetime, width: timedelta) -> datetime:
    """Start of the bucket of that width, counted from 1970."""
    return EPOCH + (moment - EPOCH) // width * width


# --- time zones -----------------------------------------------------------------------------------------------
@lru_cache(maxsize=256)
def time_zone(name: str) -> ZoneInfo:
    """Time zone of an IANA name.

    Raises:
        ArangoError: 1572, for an unknown name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ArangoError(1572, f"unknown time zone {name!r}") from error


def to_local(moment: datetime, zone: ZoneInfo) -> datetime:
    """Wall clock of a zone at a moment."""
    return moment.replace(tzinfo=timezone.utc).astimezone(zone).replace(tzinfo=None)


def to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """Moment of a zone's wall clock; the earlier one where clocks go back."""
    return local.replace(tzinfo=zone).astimezone(timezone.utc).replace(tzinfo=None)


def zone_period(moment: datetime, zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
    """Begin and end, in UTC, of the offset that a zone has at a moment; None beyond 100 years."""
    return _offset_change(moment, zone, -1), _offset_change(moment, zone, 1)


def _offset_change(moment: datetime, zone: ZoneInfo, direction: int) -> datetime | None:
    def offset(at: datetime) -> timedelta | None:
        return at.replace(tzinfo=timezone.utc).astimezone(zone).utcoffset()

    same, step = moment, direction * timedelta(days=20)
    for _ in range(100 * 366 // 20):
        other = shifted(same, step)
        if other is None:
            return None
        if offset(other) != offset(moment):
            return _bisected(same, other, lambda at: offset(at) == offset(moment))
        same = other
    return None


def _bisected(same: datetime, other: datetime, is_same: Callable[[datetime], bool]) -> datetime:
    while abs(other - same) > timedelta(seconds=1):
        middle = same + (other - same) / 2
        same, other = (middle, other) if is_same(middle) else (same, middle)
    boundary = max(same, other)
    return boundary.replace(microsecond=0)
