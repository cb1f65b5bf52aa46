"""Geographic functions on points, and constructors of GeoJSON. Source: "Geo-spatial functions in AQL" of ArangoDB 3.12.

Shapes other than points can be made but not measured: aqlite has no geo index.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aqlite.aql.functions.registry import Registry, warn
from aqlite.aql.values import Number, Value, equals, is_number, number_or_null, to_number, truthy

if TYPE_CHECKING:
    from aqlite.aql.context import CallContext

FUNCTIONS = Registry()
EARTH_RADIUS_METRES = 6_371_000.0


def haversine(latitude1: float, longitude1: float, latitude2: float, longitude2: float) -> float:
    """Great-circle distance in metres between two points in degrees."""
    phi1, phi2 = math.radians(latitude1), math.radians(latitude2)
    half_chord = (
        math.sin((phi2 - phi1) / 2) ** 2
        + math.cos(phi1) * math.cos(phi2) * math.sin(math.radians(longitude2 - longitude1) / 2) ** 2
    )
    return EARTH_RADIUS_METRES * 2 * math.atan2(math.sqrt(half_chord), math.sqrt(max(0.0, 1 - half_chord)))


def _point(value: Value) -> tuple[float, float] | None:
    """(longitude, latitude) of a coordinate pair or of a GeoJSON point."""
    pair = value.get("coordinates") if type(value) is dict and value.get("type") == "Point" else value
    if type(pair) is not list or len(pair) != 2 or not all(map(is_number, pair)):
        return None
    return (pair[0], pair[1]) if abs(pair[0]) <= 180 and abs(pair[1]) <= 90 else None


@FUNCTIONS.define("DISTANCE")
def distance(
    ctx: CallContext, latitude1: Value, longitude1: Value, latitude2: Value, longitude2: Value
) -> Number | None:
    """Distance in metres between two points given as latitude and longitude."""
    coordinates = (latitude1, longitude1, latitude2, longitude2)
    if not all(map(is_number, coordinates)):
        return warn(ctx, "DISTANCE")
    return number_or_null(haversine(*coordinates))


def _point_distance(ctx: CallContext, name: str, left: Value, right: Value) -> float | None:
    first, second = _point(left), _point(right)
    if first is None or second is None:
        return warn(ctx, name)
    return haversine(first[1], first[0], second[1], second[0])


@FUNCTIONS.define("GEO_DISTANCE")
def geo_distance(ctx: CallContext, left: Value, right: Value, ellipsoid: Value = "sphere") -> Number | None:
    """Distance in metres between two points on the sphere; null with a warning for other shapes and ellipsoids."""
    if ellipsoid != "sphere":
        return warn(ctx, "GEO_DISTANCE")
    metres = _point_distance(ctx, "GEO_DISTANCE", left, right)
    return None if metres is None else number_or_null(metres)


@FUNCTIONS.define("GEO_IN_RANGE")
def geo_in_range(
    ctx: CallContext,
    left: Value,
    right: Value,
    low: Value,
    high: Value,
    include_low: Value = True,
    include_high: Value = True,
) -> bool | None:
    """Whether the distance in metres of two points is between two bounds."""
    metres = _point_distance(ctx, "GEO_IN_RANGE", left, right)
    if metres is None:
        return None
    nearest, farthest = to_number(low), to_number(high)
    above = metres >= nearest if truthy(include_low) else metres > nearest
    return above and (metres <= farthest if truthy(include_high) else metres < farthest)


@FUNCTIONS.define("GEO_EQUALS")
def geo_equals(ctx: CallContext, left: Value, right: Value) -> bool | None:
    """Whether two GeoJSON objects are written the same."""
    if type(left) is not dict or type(right) is not dict:
        return warn(ctx, "GEO_EQUALS")
    return equals(left, right)


@FUNCTIONS.define("GEO_POINT")
def geo_point(ctx: CallContext, longitude: Value, latitude: Value) -> dict[str, Value] | None:
    """GeoJSON point."""
    if _point([longitude, latitude]) is None:
        return warn(ctx, "GEO_POINT")
    return {"type": "Point", "coordinates": [longitude, latitude]}


def _nesting(coordinates: Value) -> int | None:
    """How many arrays are around the coordinate pairs; None when the array holds anything else."""
    if _point(coordinates) is not None:
        return 0
    if type(coordinates) is not list or not coordinates:
        return None
    depths = {_nesting(member) for member in coordinates[:100_000]}
    return None if len(depths) != 1 or None in depths else depths.pop() + 1


def _define_shape(name: str, kind: str, depth: int, least_points: int) -> None:
    @FUNCTIONS.define(name)
    def call(ctx: CallContext, coordinates: Value) -> dict[str, Value] | None:
        if type(coordinates) is not list:
            return warn(ctx, name)
        nested = [coordinates] if kind == "Polygon" and _nesting(coordinates) == 1 else coordinates
        innermost = nested
        for _ in range(depth - 1):
            innermost = innermost[0] if type(innermost) is list and innermost else []
        if _nesting(nested) != depth or len(innermost) < least_points:
            return warn(ctx, name)
        return {"type": kind, "coordinates": nested}


_define_shape("GEO_MULTIPOINT", "MultiPoint", 1, 2)
_define_shape("GEO_LINESTRING", "LineString", 1, 2)
_define_shape("GEO_MULTILINESTRING", "MultiLineString", 2, 2)
_define_shape("GEO_POLYGON", "Polygon", 2, 3)
_define_shape("GEO_MULTIPOLYGON", "MultiPolygon", 3, 3)
