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
TRAIL = "time > now() - 15m"
DATUM = "${datum:raw}"  # two fields as "lat" and "lon"
STATES = ("fresh_fix", "old_fix", "no_fix", "silent", "off")
TRAILS = 6  # as gateway.sinks.figures

# The newest state of each unit.
UNITS_NOW = f"""\
SELECT last("state_code") AS "state_code", "state", "name", "team_name", {DATUM}, "heard_s",
 "fix_s", "speed_mps", "battery_pct", "rssi_dbm", "has_emergency"
 FROM "radio_status" WHERE {RECENT} AND {SITE} AND {UNIT} GROUP BY "unit", "radio", "team\""""

# An open emergency goes on being shown for an hour after the last word of it, so that a gateway
# that dies takes none off the wall; a closed one says open_count = 0.
OPEN_NOW = f"""\
SELECT * FROM (SELECT last("open_count") AS "open_count", "name", "kind", "place", "phase", "by",
 "open_s", "waiting_s", "is_drill", "verified", {DATUM} FROM "emergency"
 WHERE time > now() - 1h AND {SITE} GROUP BY "unit", "radio", "team") WHERE "open_count" > 0"""


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


def figures_now(fields: Iterable[tuple[str, str]]) -> InfluxQuery:
    """The gateway's newest figures, as (field, shown as)."""
    chosen = ", ".join(f'last("{field}") AS "{shown}"' for field, shown in fields)
    return table(f'SELECT {chosen} FROM "gateway" WHERE {NOW} AND {SITE}')


def figure_now(field: str, shown: str = "n") -> InfluxQuery:
    """One of them."""
    return figures_now([(field, shown)])
