"""Date functions, against the documentation's own examples and edge cases."""

from datetime import datetime, timedelta, timezone

import pytest
from function_calls import call, call_with, warning_of
from hypothesis import given
from hypothesis import strategies as st

from aqlite.aql.context import CallContext
from aqlite.errors import ArangoError

NEW_YEARS_EVE = "2023-12-31T23:00:00.000Z"
BERLIN = "Europe/Berlin"
MOMENTS = st.integers(-62_135_596_800_000, 253_402_300_799_999)


@pytest.mark.parametrize(
    "args",
    [
        ("2014-05-07T14:19:09.522",),
        ("2014-05-07T14:19:09.522Z",),
        ("2014-05-07 14:19:09.522",),
        ("2014-05-07 14:19:09.522Z",),
        ("2014-05-07T16:19:09.522+02:00",),
        ("2014-05-07T06:49:09.522-0730",),
        ("  2014-5-7T14:19:09.5221  ",),
        (2014, 5, 7, 14, 19, 9, 522),
        (1399472349522,),
        (1399472349522.9,),
    ],
)
def test_ways_to_write_a_date(args):
    assert call("DATE_TIMESTAMP", *args) == 1399472349522
    assert call("DATE_ISO8601", *args) == "2014-05-07T14:19:09.522Z"


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("DATE_TIMESTAMP", (2016, 2, 32), 1456963200000),
        ("DATE_TIMESTAMP", (1970, 1, 1, 26), 93600000),
        ("DATE_TIMESTAMP", ("2015",), 1420070400000),
        ("DATE_ISO8601", ("2015-02-31",), "2015-03-03T00:00:00.000Z"),
        ("DATE_ISO8601", (2014, 14, 1), "2015-02-01T00:00:00.000Z"),
        ("IS_DATESTRING", ("2015",), True),
        ("IS_DATESTRING", ("2015-10",), True),
        ("IS_DATESTRING", ("2015-02-31",), True),
        ("IS_DATESTRING", ("2014-05-07T14:19",), True),
        ("IS_DATESTRING", ("2014-05-07T14",), False),
        ("IS_DATESTRING", ("yesterday",), False),
        ("IS_DATESTRING", (1399472349522,), False),
        ("DATE_HOUR", (7200000,), 2),
        ("DATE_DAYOFWEEK", ("2020-08-29",), 6),
        ("DATE_DAYOFWEEK", (0,), 4),
        ("DATE_DAYOFWEEK", ("2023-03-25T23:00:00.000Z", BERLIN), 0),
        ("DATE_YEAR", (NEW_YEARS_EVE,), 2023),
        ("DATE_YEAR", (NEW_YEARS_EVE, BERLIN), 2024),
        ("DATE_MONTH", (NEW_YEARS_EVE, BERLIN), 1),
        ("DATE_DAY", (NEW_YEARS_EVE, BERLIN), 1),
        ("DATE_HOUR", (NEW_YEARS_EVE, BERLIN), 0),
        ("DATE_MINUTE", (NEW_YEARS_EVE, "Asia/Kathmandu"), 45),
        ("DATE_SECOND", (1234567890,), 7),
        ("DATE_MILLISECOND", (1234567890,), 890),
        ("DATE_DAYOFYEAR", ("2020-08-29",), 242),
        ("DATE_ISOWEEK", ("2020-08-29",), 35),
        ("DATE_ISOWEEKYEAR", ("2023-01-01",), {"week": 52, "year": 2022}),
        ("DATE_ISOWEEKYEAR", ("2019-12-30",), {"week": 1, "year": 2020}),
        ("DATE_LEAPYEAR", ("2020-01-01",), True),
        ("DATE_LEAPYEAR", ("2016-12-31T23:00:00.000Z", BERLIN), False),
        ("DATE_QUARTER", ("2020-08-29",), 3),
        ("DATE_DAYS_IN_MONTH", ("2020-02-01",), 29),
        ("DATE_DAYS_IN_MONTH", ("2023-11-30T23:00:00.000Z", BERLIN), 31),
        ("DATE_TRUNC", ("2017-02-03", "month"), "2017-02-01T00:00:00.000Z"),
        ("DATE_TRUNC", ("2017-02-03 04:05:06", "hours"), "2017-02-03T04:00:00.000Z"),
        ("DATE_TRUNC", ("2023-03-25 23:00:00", "day", BERLIN), "2023-03-25T23:00:00.000Z"),
        ("DATE_TRUNC", ("2017-02-03T04:05:06.789", "S"), "2017-02-03T04:05:06.000Z"),
        ("DATE_TRUNC", ("2017-02-03T04:05:06.789", "f"), "2017-02-03T04:05:06.789Z"),
        ("DATE_ROUND", ("2000-04-28T11:11:11.111Z", 1, "day"), "2000-04-28T00:00:00.000Z"),
        ("DATE_ROUND", ("2000-04-10T11:39:29Z", 15, "minutes"), "2000-04-10T11:30:00.000Z"),
        ("DATE_ROUND", ("2023-03-25T23:55:55.555Z", 1, "day", BERLIN), "2023-03-25T23:00:00.000Z"),
        ("DATE_ADD", ("2023-03-25T23:00:00.000Z", 1, "day"), "2023-03-26T23:00:00.000Z"),
        ("DATE_ADD", ("2023-03-25T23:00:00.000Z", 1, "day", BERLIN), "2023-03-26T22:00:00.000Z"),
        ("DATE_ADD", ("2015-04-01", 12 * 5 + 1, "months"), "2020-05-01T00:00:00.000Z"),
        ("DATE_ADD", ("2016-01-31", 1, "month"), "2016-03-02T00:00:00.000Z"),
        ("DATE_ADD", ("2000-01-01", "PT30M44.4S"), "2000-01-01T00:30:44.400Z"),
        ("DATE_ADD", ("2000-01-01", "P1Y2M3W4DT5H6M7.89S"), "2001-03-26T05:06:07.890Z"),
        ("DATE_ADD", ("2000-01-01", 36, "h"), "2000-01-02T12:00:00.000Z"),
        ("DATE_SUBTRACT", ("2020-03-01", 1, "day"), "2020-02-29T00:00:00.000Z"),
        ("DATE_SUBTRACT", ("2020-03-01", "P4D"), "2020-02-26T00:00:00.000Z"),
        ("DATE_SUBTRACT", ("2020-01-15", 1, "month"), "2019-12-15T00:00:00.000Z"),
        ("DATE_DIFF", ("2023-12-01", "2024-04-01", "days"), 122),
        ("DATE_DIFF", ("2024-04-01", "2023-12-01", "d"), -122),
        ("DATE_DIFF", ("2000-01-01", "2000-01-01T12:00:00", "days", True), 0.5),
        ("DATE_DIFF", ("2024-01-01", "2024-01-01", "h", True, "Asia/Kathmandu", "America/Los_Angeles"), -13.75),
        ("DATE_DIFF", ("2023-03-25T23:00:00.000Z", "2023-03-26T23:00:00.000Z", "hours"), 24),
        ("DATE_DIFF", ("2023-03-25T23:00:00.000Z", "2023-03-26T23:00:00.000Z", "hours", BERLIN), 25),
        ("DATE_COMPARE", ("1985-04-04", "2024-04-04T09:00:00Z", "months", "days"), True),
        ("DATE_COMPARE", ("1985-04-04", "2024-04-05", "months"), True),
        ("DATE_COMPARE", ("1985-04-04", "2024-04-05", "months", "days"), False),
        ("DATE_COMPARE", ("2001-01-01T15:30:45.678Z", "2001-01-01T08:08:08.008Z", "years", "days"), True),
        (
            "DATE_COMPARE",
            ("2023-04-01T09:00:00Z", "2024-04-01T18:00:00Z", "hour", "minute", BERLIN, "America/Los_Angeles"),
            True,
        ),
        ("DATE_FORMAT", ("2015-09-18T15:30:49.374Z", "%dd.%mm.%yyyy %hh:%ii:%ss,%fff"), "18.09.2015 15:30:49,374"),
        ("DATE_FORMAT", ("2015-09-18", "%q/%yyyy"), "3/2015"),
        ("DATE_FORMAT", ("1969", "Summer of '%yy"), "Summer of '69"),
        ("DATE_FORMAT", ("2016", "%%l = %l"), "%l = 1"),
        ("DATE_FORMAT", ("2016-03-01", "%xxx%"), "061"),
        ("DATE_FORMAT", ("2016-03-01", "%m%&month"), "3month"),
        ("DATE_FORMAT", ("2016-03-01", "%wwww %www %mmmm %mmm %w %a %k %kk"), "Tuesday Tue March Mar 2 31 9 09"),
        ("DATE_FORMAT", ("2016-03-01", "%yyyyyy %y %d %h %i %s %f %x %z %t"), None),
        ("DATE_FORMAT", (NEW_YEARS_EVE, "%YYYY-%MM-%DD", BERLIN), "2024-01-01"),
        ("DATE_UTCTOLOCAL", ("2020-03-15T00:00:00.000", BERLIN), "2020-03-15T01:00:00.000"),
        ("DATE_UTCTOLOCAL", ("2020-03-15T00:00:00.000", "America/New_York"), "2020-03-14T20:00:00.000"),
        ("DATE_UTCTOLOCAL", ("2020-03-15T00:00:00.000-02:00", "Asia/Shanghai"), "2020-03-15T10:00:00.000"),
        ("DATE_LOCALTOUTC", ("2020-03-15T00:00:00.000", BERLIN), "2020-03-14T23:00:00.000Z"),
        ("DATE_LOCALTOUTC", (1584230400000, "Asia/Shanghai"), "2020-03-14T16:00:00.000Z"),
        ("DATE_TIMEZONE", (), "Etc/UTC"),
    ],
)
def test_documented_answers(name, args, expected):
    if expected is None:
        expected = "+002016 2016 1 0 0 0 0 61 2016-03-01T00:00:00.000Z 1456790400000"
    assert call(name, *args) == expected


def test_zone_information():
    info = call("DATE_UTCTOLOCAL", "2020-03-15", BERLIN, True)
    assert info["local"] == "2020-03-15T01:00:00.000"
    assert info["zoneInfo"] == {
        "name": "CET",
        "begin": "2019-10-27T01:00:00.000Z",
        "end": "2020-03-29T01:00:00.000Z",
        "dst": False,
        "offset": 3600,
    }
    lagos = call("DATE_LOCALTOUTC", "2021-03-16T12:00:00.000", "Africa/Lagos", True)
    assert lagos["utc"] == "2021-03-16T11:00:00.000Z"
    assert lagos["zoneInfo"]["end"] is None
    assert BERLIN in call("DATE_TIMEZONES")


@pytest.mark.parametrize(
    ("name", "args", "number"),
    [
        ("DATE_TIMESTAMP", (2016, 12, -1), 1572),
        ("DATE_TIMESTAMP", (2016, 12), 1542),
        ("DATE_TIMESTAMP", ("2016-13-01",), 1572),
        ("DATE_TIMESTAMP", ("tomorrow",), 1572),
        ("DATE_TIMESTAMP", (1e18,), 1572),
        ("DATE_TIMESTAMP", (True,), 1542),
        ("DATE_ISO8601", (99999, 1, 1), 1572),
        ("DATE_YEAR", (None,), 1542),
        ("DATE_YEAR", ("2020-01-01T25:00:00",), 1572),
        ("DATE_TRUNC", ("2017-02-03", "week"), 1542),
        ("DATE_TRUNC", ("2017-02-03", "fortnight"), 1542),
        ("DATE_ROUND", ("2017-02-03", 0, "day"), 1542),
        ("DATE_ROUND", ("2017-02-03", 1, "year"), 1542),
        ("DATE_FORMAT", ("2017-02-03", 1), 1542),
        ("DATE_ADD", ("2017-02-03", "P"), 1542),
        ("DATE_ADD", ("2017-02-03", "-P1Y"), 1542),
        ("DATE_ADD", ("2017-02-03", 1, "eons"), 1542),
        ("DATE_ADD", ("9999-12-31", 1, "day"), 1572),
        ("DATE_ADD", ("2017-02-03", 1e300, "year"), 1572),
        ("DATE_ADD", ("2017-02-03", 1e300, "f"), 1572),
        ("DATE_SUBTRACT", ("0001-01-01", 1, "month"), 1572),
        ("DATE_DIFF", ("2017-02-03", "x", "day"), 1572),
        ("DATE_DIFF", ("2017-02-03", "2017-02-03", 1), 1542),
        ("DATE_COMPARE", ("2017", "2018", "days", "years"), 1542),
        ("DATE_UTCTOLOCAL", ("9999-12-31T23:59:59Z", "Asia/Tokyo"), 1572),
        ("DATE_UTCTOLOCAL", ("2020", 1), 1542),
    ],
)
def test_bad_dates_are_null_with_a_warning(name, args, number):
    assert warning_of(name, *args) == number


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../../etc/passwd", "/etc/passwd", "America", "\x00"])
def test_unknown_time_zones_fail(zone):
    with pytest.raises(ArangoError, match="unknown time zone") as error:
        call("DATE_YEAR", 0, zone)
    assert error.value.error_num == 1572


def test_now_is_the_time_of_the_query():
    ctx = CallContext(now=datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert call_with(ctx, "DATE_NOW") == 1714557600000


@given(MOMENTS)
def test_timestamps_survive_text(milliseconds):
    text = call("DATE_ISO8601", milliseconds)
    assert call("DATE_TIMESTAMP", text) == milliseconds
    moment = datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds)
    assert call("DATE_DAYOFYEAR", milliseconds) == int(moment.strftime("%j"))
    assert call("DATE_FORMAT", milliseconds, "%mm-%dd %hh:%ii:%ss") == moment.strftime("%m-%d %H:%M:%S")


@given(MOMENTS, st.integers(-500, 500), st.sampled_from(["w", "d", "h", "i", "s", "f"]))
def test_adding_and_subtracting_cancel_out(milliseconds, amount, unit):
    ctx = CallContext()
    there = call_with(ctx, "DATE_ADD", milliseconds, amount, unit)
    if there is None:
        assert [warning["code"] for warning in ctx.warnings] == [1572]
    else:
        assert call("DATE_SUBTRACT", there, amount, unit) == call("DATE_ISO8601", milliseconds)
        assert call("DATE_DIFF", milliseconds, there, unit) == amount
