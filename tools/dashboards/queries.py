"""InfluxQL for the dashboards: what InfluxDB 1.x, 2.x (mapped) and 3.x all answer.

``$timeFilter`` and ``$__interval`` are filled in by Grafana; ``$site`` and its like are variables.
What stands in double quotes is a field, a tag or a measurement of docs/messages.md: a test looks.
"""

from collections.abc import Iterable
from typing import Literal

from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.models.dashboard import DataSourceRef

SOURCE_UID = "pdt-influxql"
SOURCE = DataSourceRef(type_val="influxdb", uid=SOURCE_UID)

SITE = '"site" =~ /^$site$/'
UNIT = '"team" =~ /^$team$/'
RECENT = "time > now() - 5m"  # a unit is written once a minute at least
NOW = "time > now() - 1m"  # links and the gateway every ten seconds
KNOWN = "time > now() - 7d"  # a site of which nothing is heard is missed for so long
TRAIL = "time > now() - 15m"
DATUM = "${datum:raw}"  # two fields as "lat" and "lon"
DATA = "${data:raw}"  # a measurement, in the place that was chosen
STATES = ("fresh_fix", "old_fix", "no_fix", "silent", "off")
TRAILS = 6  # as gateway.sinks.figures
MINUTES, ALARMS = "minutes", "alarms"  # as gateway.sinks.influx_steps

# The newest state of each unit.
UNITS_NOW = f"""\
SELECT last("state_code") AS "state_code", "state", "name", "team_name", {DATUM}, "heard_s",
 "fix_s", "speed_mps", "battery_pct", "rssi_dbm", "has_emergency"
 FROM "radio_status" WHERE {RECENT} AND {SITE} AND {UNIT}
 GROUP BY "site", "unit", "radio", "team\""""

# An open emergency goes on being shown for an hour after the last word of it, so that a gateway
# that dies takes none off the wall; a closed one says open_count = 0.
LAST_WORD = "time > now() - 1h"
OPEN_NOW = f"""\
SELECT * FROM (SELECT last("open_count") AS "open_count", "name", "kind", "place", "phase", "by",
 "open_s", "waiting_s", "is_drill", "verified", {DATUM} FROM "emergency"
 WHERE {LAST_WORD} AND {SITE} GROUP BY "site", "unit", "radio", "team") WHERE "open_count" > 0"""


def trail(number: int) -> str:
    """The way of the unit that has this number while it is in an emergency."""
    return f'SELECT {DATUM} FROM "radio_status" WHERE {TRAIL} AND {SITE} AND "trail" = {number}'


def per(aggregate: str, field: str, measurement: str, where: str = "", by: str = "") -> str:
    """One field over time, in steps that fit the width of the panel."""
    more = f" AND {where}" if where else ""
    groups = f", {by}" if by else ""
    return (
        f'SELECT {aggregate}("{field}") FROM "{measurement}" WHERE $timeFilter AND {SITE}{more}'
        f" GROUP BY time($__interval){groups} fill(null)"
    )


def per_minute(where: str, by: str = "") -> str:
    """How many valid fixes in each minute, the running one left out: it would always be few.

    The minutes end at the right edge of the panel, so each of them is whole.
    """
    groups = f", {by}" if by else ""
    return (
        'SELECT count("fix_valid") FROM "position" WHERE $timeFilter'
        f' AND time < ${{__to}}ms - 1m AND {where} AND "fix_valid" = true'
        f" GROUP BY time(1m, ${{__to}}ms){groups} fill(null)"
    )


def tag_values(tag: str, measurement: str = "") -> str:
    """Every value of a tag, in the usual place of the series: InfluxDB 2.x looks into no other."""
    source = f'FROM "{measurement}" ' if measurement else ""
    return f'SHOW TAG VALUES {source}WITH KEY = "{tag}"'


class InfluxQuery(variants.Dataquery):
    """The data source's query, raw InfluxQL: the SDK has none of its own."""

    def __init__(self, text: str, form: Literal["table", "time_series"], alias: str = "") -> None:
        self.text = " ".join(text.split())
        self.form = form
        self.alias = alias
        self.ref_id = "A"

    def to_json(self) -> dict[str, object]:
        """The JSON of a target."""
        target: dict[str, object] = {
            "refId": self.ref_id,
            "datasource": SOURCE,
            "query": self.text,
            "rawQuery": True,
            "resultFormat": self.form,
        }
        if self.alias:
            target["alias"] = self.alias
        return target


class Target(builder.Builder[variants.Dataquery]):
    """What the SDK's panels take."""

    def __init__(self, query: InfluxQuery, ref_id: str) -> None:
        self._query = query
        query.ref_id = ref_id

    def build(self) -> variants.Dataquery:
        """The query."""
        return self._query


def targets(*queries: InfluxQuery) -> list[builder.Builder[variants.Dataquery]]:
    """Targets A, B, C and so on."""
    return [Target(query, chr(ord("A") + place)) for place, query in enumerate(queries)]


def table(text: str) -> InfluxQuery:
    """One frame with a row for each point; tags of GROUP BY become columns."""
    return InfluxQuery(text, "table")


def series(text: str, alias: str = "") -> InfluxQuery:
    """A frame for each series; ``alias`` names it ($tag_link, $col)."""
    return InfluxQuery(text, "time_series", alias)


# Several sites may write into one database, and "All" of them may be chosen: the newest point is
# then that of one site. So the newest of each is taken first, and those are put together.


def _by_site(what: str, window: str) -> str:
    return f'SELECT {what} FROM "gateway" WHERE {window} AND {SITE} GROUP BY "site"'


def figures_now(fields: Iterable[tuple[str, str]], of: str = "sum") -> InfluxQuery:
    """The newest figures of all gateways put together by ``of``, as (field, shown as)."""
    pairs = list(fields)
    newest = ", ".join(f'last("{field}") AS "{field}"' for field, _ in pairs)
    chosen = ", ".join(f'{of}("{field}") AS "{shown}"' for field, shown in pairs)
    return table(f"SELECT {chosen} FROM ({_by_site(newest, NOW)})")


def figure_now(field: str, shown: str = "n", of: str = "sum") -> InfluxQuery:
    """One of them."""
    return figures_now([(field, shown)], of)


def site_figure_now(field: str) -> InfluxQuery:
    """One of them, a row "n" for each "site"."""
    return table(_by_site(f'last("{field}") AS "n"', NOW))


def emergency_figure_now(field: str, of: str = "sum") -> InfluxQuery:
    """A figure of emergencies, which stays while the gateway is dead as its emergencies do."""
    newest = f'last("{field}") AS "n"'
    lasting = f'SELECT "n" FROM ({_by_site(newest, LAST_WORD)}) WHERE "n" > 0 GROUP BY "site"'
    return table(
        f'SELECT {of}("n") AS "n" FROM (SELECT max("n") AS "n"'
        f' FROM ({_by_site(newest, NOW)}), ({lasting}) GROUP BY "site")'
    )


def points_of_sites(window: str, where: str = "") -> str:
    """How many points each gateway wrote within a window; 0 for a known one that wrote none."""
    more = f" AND {where}" if where else ""
    return (
        'SELECT sum("n") AS "n" FROM'
        f' (SELECT last("uptime_s") * 0 AS "n" FROM "gateway" WHERE {KNOWN}{more} GROUP BY "site"),'
        f' (SELECT count("uptime_s") AS "n" FROM "gateway" WHERE {window}{more} GROUP BY "site")'
        ' GROUP BY "site"'
    )


def not_accepting_now() -> InfluxQuery:
    """How many gateways do not accept; no row where none writes."""
    writing = _by_site('last("uptime_s") * 0 AS "n"', NOW)
    newest = _by_site('last("is_accepting") AS "yes"', NOW)
    refusing = f'SELECT count("yes") AS "n" FROM ({newest}) WHERE "yes" = false'
    return table(f'SELECT sum("n") AS "n" FROM ({writing}), ({refusing})')
