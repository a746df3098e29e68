"""The Chinese manual quotes the words and keys of the real page."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/zh/desk-manual.md").read_text(encoding="utf-8")
SOURCE = ROOT / "dashboards/desk/src"


def words_on_the_screen() -> list[re.Pattern[str]]:
    """Every Chinese text of the page; what is filled in may be anything."""
    chinese = (SOURCE / "words.ts").read_text(encoding="utf-8").split("} as const", 1)[0]
    texts = re.findall(r': "([^"]+)",$', chinese, re.MULTILINE)
    assert len(texts) > 100
    texts = [text for text in texts if re.sub(r"\{\w+\}", "", text)]  # some are filled in only
    return [re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(text)) + r"\Z") for text in texts]


def test_every_quoted_text_is_on_the_screen() -> None:
    screen = words_on_the_screen()
    quoted = set(re.findall("「([^」]+)」", PAGE))
    assert len(quoted) > 30
    unknown = {q for q in quoted if q != "⚠ implausible_…" and not any(w.match(q) for w in screen)}
    assert not unknown


def test_the_keys_are_those_of_the_page() -> None:
    source = (SOURCE / "keys.ts").read_text(encoding="utf-8")
    handled = set(re.findall(r"\b(F\d+):", source)) | set(re.findall(r'acts\["([^"]+)"\]', source))
    assert {"F2", "F4", "F8", "/", "Escape"} <= handled
    told = {key.replace("Esc", "Escape") for key in re.findall(r"`(F\d+|/|Esc)`", PAGE)}
    assert told == handled


def test_every_state_of_a_unit_and_of_a_link_is_explained() -> None:
    for word in (
        "定位新",
        "定位旧",
        "无定位",
        "失联",
        "关机",
        "未注册电台",
        "正常",
        "断开",
        "无数据",
    ):
        assert f"「{word}」" in PAGE


def test_every_verdict_and_every_banner_is_explained() -> None:
    for word in ("真警", "误报", "演练", "网关不再接收新数据", "操作记录无法写入", "点击启用声音"):
        assert f"「{word}」" in PAGE
