"""Date functions. Source: the page "Date functions in AQL" of ArangoDB 3.12."""

from __future__ import annotations

import calendar
import math
import re
import zoneinfo
from collections.abc import Callable
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING

import tzdata

from aqlite.aql import dates
from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import Number, Value, is_number, number_or_null, to_number, truthy

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()

_COMPARED = ("year", "month", "day", "hour", "minute", "second", "millisecond")


def _moment(ctx: CallContext, name: str, value: Value, zone: Value = None) -> datetime | None:
    """Moment of an argument, on the wall clock of ``zone`` when given; None with a warning for what is no date.

    Raises:
        ArangoError: 1572, for an unknown time zone.
    """
    if not is_number(value) and type(value) is not str:
        return warn(ctx, name)
    moment = dates.parse_date(value)
    if moment is None:
        return warn(ctx, name, 1572)
    if zone is None:
        return moment
    if type(zone) is not str:
        return warn(ctx, name)
    return _in_range(ctx, name, lambda: dates.to_local(moment, dates.time_zone(zone)))


def _in_range(ctx: CallContext, name: str, operation: Callable[[], datetime]) -> datetime | None:
    try:
        return operation()
    except OverflowError:
        return warn(ctx, name, 1572)


def _to_utc_text(ctx: CallContext, name: str, moment: datetime | None, zone: Value) -> str | None:
    """ISO text of a moment that stands on the wall clock of ``zone``; a warning when it left the range of dates."""
    if moment is None:
        return warn(ctx, name, 1572)
    if zone is not None:
        moment = _in_range(ctx, name, lambda: dates.to_utc(moment, dates.time_zone(zone)))
    return None if moment is None else dates.iso_text(moment)


# --- now and conversion ---------------------------------------------------------------------------------------
@FUNCTIONS.define("DATE_NOW", deterministic=False)
def now(ctx: CallContext) -> int:
    """Timestamp of the query in milliseconds."""
    return dates.timestamp(ctx.now.astimezone(timezone.utc).replace(tzinfo=None))


def _from_parts(ctx: CallContext, name: str, parts: tuple[Value, ...]) -> datetime | None:
    if len(parts) == 1:
        return _moment(ctx, name, parts[0])
    if len(parts) == 2:
        return warn(ctx, name)
    numbers = [int(to_number(part)) for part in parts]
    moment = None if min(numbers) < 0 else dates.civil_moment(*numbers)
    return warn(ctx, name, 1572) if moment is None else moment


@FUNCTIONS.define("DATE_TIMESTAMP")
def date_timestamp(
    ctx: CallContext,
    date: Value,
    month: Value = None,
    day: Value = None,
    hour: Value = None,
    minute: Value = None,
    second: Value = None,
    millisecond: Value = None,
) -> int | None:
    """Timestamp of a date, or of its parts."""
    moment = _from_parts(ctx, "DATE_TIMESTAMP", _given(date, month, day, hour, minute, second, millisecond))
    return None if moment is None else dates.timestamp(moment)


@FUNCTIONS.define("DATE_ISO8601")
def date_iso8601(
    ctx: CallContext,
    date: Value,
    month: Value = None,
    day: Value = None,
    hour: Value = None,
    minute: Value = None,
    second: Value = None,
    millisecond: Value = None,
) -> str | None:
    """ISO 8601 text of a date, or of its parts."""
    moment = _from_parts(ctx, "DATE_ISO8601", _given(date, month, day, hour, minute, second, millisecond))
    return None if moment is None else dates.iso_text(moment)


def _given(*parts: Value) -> tuple[Value, ...]:
    last = max((index for index, part in enumerate(parts) if part is not None), default=0)
    return parts[: last + 1]


# --- parts of a date ------------------------------------------------------------------------------------------
def _define_part(name: str, part: Callable[[datetime], Value]) -> None:
    """``name(date, timezone)``."""

    @FUNCTIONS.define(name)
    def call(ctx: CallContext, date: Value, zone: Value = None) -> Value:
        moment = _moment(ctx, name, date, zone)
        return None if moment is None else part(moment)


def _week_and_year(moment: datetime) -> dict[str, int]:
    year, week, _ = moment.isocalendar()
    return {"week": week, "year": year}


_PARTS: dict[str, Callable[[datetime], Value]] = {
    "DATE_YEAR": lambda moment: moment.year,
    "DATE_MONTH": lambda moment: moment.month,
    "DATE_DAY": lambda moment: moment.day,
    "DATE_HOUR": lambda moment: moment.hour,
    "DATE_MINUTE": lambda moment: moment.minute,
    "DATE_SECOND": lambda moment: moment.second,
    "DATE_MILLISECOND": lambda moment: moment.microsecond // 1000,
    "DATE_DAYOFWEEK": lambda moment: moment.isoweekday() % 7,
    "DATE_DAYOFYEAR": lambda moment: moment.timetuple().tm_yday,
    "DATE_ISOWEEK": lambda moment: moment.isocalendar()[1],
    "DATE_ISOWEEKYEAR": _week_and_year,
    "DATE_LEAPYEAR": lambda moment: calendar.isleap(moment.year),
    "DATE_QUARTER": lambda moment: (moment.month + 2) // 3,
    "DATE_DAYS_IN_MONTH": lambda moment: calendar.monthrange(moment.year, moment.month)[1],
}
for _name, _part in _PARTS.items():
    _define_part(_name, _part)


# --- rounding and formatting ----------------------------------------------------------------------------------
@FUNCTIONS.define("DATE_TRUNC")
def date_trunc(ctx: CallContext, date: Value, unit: Value, zone: Value = None) -> str | None:
    """Start of the year, month, day ... that the date is in."""
    name = dates.unit_name(unit)
    if name is None or name == "week":
        return warn(ctx, "DATE_TRUNC")
    moment = _moment(ctx, "DATE_TRUNC", date, zone)
    return None if moment is None else _to_utc_text(ctx, "DATE_TRUNC", dates.truncated(moment, name), zone)


@FUNCTIONS.define("DATE_ROUND")
def date_round(ctx: CallContext, date: Value, amount: Value, unit: Value, zone: Value = None) -> str | None:
    """Start of the bucket of ``amount`` units that the date is in."""
    name = dates.unit_name(unit)
    if name in (None, "year", "month", "week") or not is_number(amount) or not 1 <= amount <= 1e12:
        return warn(ctx, "DATE_ROUND")
    moment = _moment(ctx, "DATE_ROUND", date, zone)
    if moment is None:
        return None
    start = _in_range(ctx, "DATE_ROUND", lambda: dates.rounded_down(moment, int(amount) * dates.UNIT_LENGTH[name]))
    return None if start is None else _to_utc_text(ctx, "DATE_ROUND", start, zone)


_FORMATS: dict[str, Callable[[datetime], str]] = {
    "%t": lambda moment: str(dates.timestamp(moment)),
    "%z": dates.iso_text,
    "%w": lambda moment: str(moment.isoweekday() % 7),
    "%y": lambda moment: str(moment.year),
    "%yy": lambda moment: f"{moment.year % 100:02}",
    "%yyyy": lambda moment: f"{moment.year:04}",
    "%yyyyyy": lambda moment: f"+{moment.year:06}",
    "%m": lambda moment: str(moment.month),
    "%mm": lambda moment: f"{moment.month:02}",
    "%d": lambda moment: str(moment.day),
    "%dd": lambda moment: f"{moment.day:02}",
    "%h": lambda moment: str(moment.hour),
    "%hh": lambda moment: f"{moment.hour:02}",
    "%i": lambda moment: str(moment.minute),
    "%ii": lambda moment: f"{moment.minute:02}",
    "%s": lambda moment: str(moment.second),
    "%ss": lambda moment: f"{moment.second:02}",
    "%f": lambda moment: str(moment.microsecond // 1000),
    "%fff": lambda moment: f"{moment.microsecond // 1000:03}",
    "%x": lambda moment: str(moment.timetuple().tm_yday),
    "%xxx": lambda moment: f"{moment.timetuple().tm_yday:03}",
    "%k": lambda moment: str(moment.isocalendar()[1]),
    "%kk": lambda moment: f"{moment.isocalendar()[1]:02}",
    "%l": lambda moment: str(int(calendar.isleap(moment.year))),
    "%q": lambda moment: str((moment.month + 2) // 3),
    "%a": lambda moment: str(calendar.monthrange(moment.year, moment.month)[1]),
    "%mmm": lambda moment: calendar.month_abbr[moment.month],
    "%mmmm": lambda moment: calendar.month_name[moment.month],
    "%www": lambda moment: calendar.day_abbr[moment.weekday()],
    "%wwww": lambda moment: calendar.day_name[moment.weekday()],
    "%&": lambda moment: "",
    "%%": lambda moment: "%",
    "%": lambda moment: "",
}
_PLACEHOLDER = re.compile("|".join(sorted(_FORMATS, key=len, reverse=True)), re.IGNORECASE)


@FUNCTIONS.define("DATE_FORMAT")
def date_format(ctx: CallContext, date: Value, pattern: Value, zone: Value = None) -> str | None:
    """Text of a date after a pattern with placeholders such as ``%yyyy-%mm-%dd``."""
    if type(pattern) is not str:
        return warn(ctx, "DATE_FORMAT")
    moment = _moment(ctx, "DATE_FORMAT", date, zone)
    if moment is None:
        return None
    return _PLACEHOLDER.sub(lambda match: _FORMATS[match.group().lower()](moment), pattern)


# --- calculation ----------------------------------------------------------------------------------------------
def _define_shift(name: str, sign: int) -> None:
    """``name(date, amount, unit, timezone)`` or ``name(date, isoDuration, timezone)``."""

    @FUNCTIONS.define(name)
    def call(ctx: CallContext, date: Value, amount: Value, unit: Value = None, zone: Value = None) -> str | None:
        if type(amount) is str:
            steps, zone = dates.parse_duration(amount), unit
        else:
            unit = dates.unit_name(unit)
            steps = [(amount, unit)] if is_number(amount) and unit else None
        if steps is None:
            return warn(ctx, name)
        moment = _moment(ctx, name, date, zone)
        if moment is None:
            return None
        for count, step in steps:
            moment = None if moment is None else dates.add_units(moment, sign * count, step)
        return _to_utc_text(ctx, name, moment, zone)


_define_shift("DATE_ADD", 1)
_define_shift("DATE_SUBTRACT", -1)


@FUNCTIONS.define("DATE_DIFF")
def date_diff(
    ctx: CallContext,
    date1: Value,
    date2: Value,
    unit: Value,
    as_float: Value = False,
    zone1: Value = None,
    zone2: Value = None,
) -> Number | None:
    """Units from the first date to the second, rounded to whole ones unless ``as_float``."""
    if type(as_float) is str:
        as_float, zone1, zone2 = False, as_float, zone1
    name = dates.unit_name(unit)
    if name is None:
        return warn(ctx, "DATE_DIFF")
    first = _moment(ctx, "DATE_DIFF", date1, zone1)
    second = _moment(ctx, "DATE_DIFF", date2, zone1 if zone2 is None else zone2)
    if first is None or second is None:
        return None
    difference = (second - first) / dates.UNIT_LENGTH[name]
    return number_or_null(difference) if truthy(as_float) else _rounded(difference)


def _rounded(number: float) -> int:
    """The nearest integer, halves away from zero."""
    return int(math.copysign(math.floor(abs(number) + 0.5), number))


@FUNCTIONS.define("DATE_COMPARE")
def date_compare(
    ctx: CallContext,
    date1: Value,
    date2: Value,
    start: Value,
    end: Value = None,
    zone1: Value = None,
    zone2: Value = None,
) -> bool | None:
    """Whether two dates agree in the units from ``start`` to ``end``."""
    first_unit = dates.unit_name(start)
    last_unit = first_unit if end is None else dates.unit_name(end)
    if first_unit not in _COMPARED or last_unit not in _COMPARED:
        return warn(ctx, "DATE_COMPARE")
    units = _COMPARED[_COMPARED.index(first_unit) : _COMPARED.index(last_unit) + 1]
    first = _moment(ctx, "DATE_COMPARE", date1, zone1)
    second = _moment(ctx, "DATE_COMPARE", date2, zone1 if zone2 is None else zone2)
    if first is None or second is None:
        return None
    if not units:
        return warn(ctx, "DATE_COMPARE")
    return all(_PARTS[f"DATE_{unit.upper()}"](first) == _PARTS[f"DATE_{unit.upper()}"](second) for unit in units)


# --- time zones -----------------------------------------------------------------------------------------------
def _zone_info(utc: datetime, zone: zoneinfo.ZoneInfo) -> dict[str, Value]:
    aware = utc.replace(tzinfo=timezone.utc).astimezone(zone)
    begin, end = dates.zone_period(utc, zone)
    return {
        "name": aware.tzname(),
        "begin": None if begin is None else dates.iso_text(begin),
        "end": None if end is None else dates.iso_text(end),
        "dst": bool(aware.dst()),
        "offset": int(aware.utcoffset().total_seconds()),
    }


@FUNCTIONS.define("DATE_UTCTOLOCAL")
def utc_to_local(ctx: CallContext, date: Value, zone: Value, with_info: Value = False) -> Value:
    """Wall clock of a zone at a moment in UTC."""
    moment = _moment(ctx, "DATE_UTCTOLOCAL", date)
    if moment is None or type(zone) is not str:
        return None if moment is None else warn(ctx, "DATE_UTCTOLOCAL")
    place = dates.time_zone(zone)
    local = _in_range(ctx, "DATE_UTCTOLOCAL", lambda: dates.to_local(moment, place))
    if local is None or not truthy(with_info):
        return None if local is None else dates.iso_text(local, suffix="")
    info = _zone_info(moment, place)
    return {"local": dates.iso_text(local, suffix=""), "tzdb": tzdata.IANA_VERSION, "zoneInfo": info}


@FUNCTIONS.define("DATE_LOCALTOUTC")
def local_to_utc(ctx: CallContext, date: Value, zone: Value, with_info: Value = False) -> Value:
    """Moment in UTC of a zone's wall clock."""
    moment = _moment(ctx, "DATE_LOCALTOUTC", date)
    if moment is None or type(zone) is not str:
        return None if moment is None else warn(ctx, "DATE_LOCALTOUTC")
    place = dates.time_zone(zone)
    utc = _in_range(ctx, "DATE_LOCALTOUTC", lambda: dates.to_utc(moment, place))
    if utc is None or not truthy(with_info):
        return None if utc is None else dates.iso_text(utc)
    return {"utc": dates.iso_text(utc), "tzdb": tzdata.IANA_VERSION, "zoneInfo": _zone_info(utc, place)}


@FUNCTIONS.define("DATE_TIMEZONE")
def date_timezone(ctx: CallContext) -> str:
    """Time zone of the server: aqlite always works in UTC."""
    return "Etc/UTC"


@lru_cache(maxsize=1)
def _zone_names() -> tuple[str, ...]:
    return tuple(sorted(zoneinfo.available_timezones()))


@FUNCTIONS.define("DATE_TIMEZONES")
def date_timezones(ctx: CallContext) -> list[str]:
    """Names of all time zones."""
    return list(_zone_names())
