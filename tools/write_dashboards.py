"""Write ``dashboards/grafana``: dashboards in two languages, and the alert rules.

python -m tools.write_dashboards            write them
python -m tools.write_dashboards --check    exit code 1 where a file is not what would be written
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.dashboards import command_post, emergencies, links, radios, unit_history
from tools.dashboards.alerts import rule_file
from tools.dashboards.panels import Frame, Say

FOLDER = Path(__file__).resolve().parent.parent / "dashboards" / "grafana"
DASHBOARDS: tuple[Callable[[Say], Frame], ...] = (
    command_post.build,
    emergencies.build,
    radios.build,
    links.build,
    unit_history.build,
)
LANGUAGES: Mapping[str, Say] = {"zh": lambda zh, _en: zh, "en": lambda _zh, en: en}


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing, say what is out of date"
    )
    wanted = parser.parse_args()
    files = built()
    there = {str(path.relative_to(FOLDER)) for path in (FOLDER / "dashboards").rglob("*.json")}
    stale = sorted(name for name, text in files.items() if _now(name) != text)
    surplus = sorted(there - files.keys())
    if wanted.check:
        for name in (*stale, *surplus):
            print(f"out of date: dashboards/grafana/{name}; run python -m tools.write_dashboards")
        return 1 if stale or surplus else 0
    for name in stale:
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(files[name], encoding="utf-8")
    for name in surplus:
        (FOLDER / name).unlink()
    print(f"written: {', '.join(stale) or 'nothing, all are current'}")
    return 0


def built() -> dict[str, str]:
    """Every file by its path in the folder."""
    files = {"provisioning/alerting/rules.json": _json(rule_file())}
    for build in DASHBOARDS:
        for lang, say in LANGUAGES.items():
            frame = build(say)
            files[f"dashboards/{lang}/{frame.uid}.json"] = _json(frame.build())
    return files


def _now(name: str) -> str:
    path = FOLDER / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _json(value: object) -> str:
    return json.dumps(value, cls=JSONEncoder, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(main())
