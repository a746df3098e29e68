"""docs/grafana.md and its Chinese page name every panel and every alert, and none that is gone."""

import re

import pytest

from tests.support.grafana import DASHBOARDS, GROUP, ROOT

ENGLISH = (ROOT / "docs/grafana.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "docs/zh/grafana.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_every_panel_is_explained(uid: str) -> None:
    page = ENGLISH if uid.endswith("-en") else CHINESE
    title = DASHBOARDS[uid]["title"].removesuffix(": now")
    section = page[page.index(f"\n## {title}") + 1 :].partition("\n## ")[0]
    missing = [p["title"] for p in DASHBOARDS[uid]["panels"] if p["title"] not in section]
    assert not missing


def test_every_alert_is_explained() -> None:
    for rule in GROUP["rules"]:
        chinese, _, english = rule["title"].partition(" ")
        assert f"{rule['title']} (`{rule['uid']}`)" in ENGLISH
        assert chinese in CHINESE
        assert english
    assert set(re.findall(r"\(`(pdt-[a-z-]+)`\) \|", ENGLISH)) == {r["uid"] for r in GROUP["rules"]}


def test_every_dashboard_of_the_page_exists() -> None:
    assert set(re.findall(r"^## .*\(`(pdt-[a-z-]+)`\)$", ENGLISH, re.MULTILINE)) == {
        uid for uid in DASHBOARDS if not uid.endswith("-en")
    }
