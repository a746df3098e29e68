"""Commands to radios on the desk page: buttons where they can be done, and what became of them."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.desk.fake_desk import FakeDesk

Open = Callable[..., Page]
pytestmark = pytest.mark.needs("chromium")


def card(desk: FakeDesk, page: Page, *, key: str = "u-9", **facts: object) -> Locator:
    """The open card of a unit whose driver knows all of them."""
    desk.put_unit(
        unit_id=key, unit_name="机动09", radio_id="pdt:80020209", driver="hytera_hrnp", **facts
    )
    page.locator(f"#unit-{key}").click()
    return page.locator(".card")


def switched_on(desk: FakeDesk, open_page: Open, *roles: str) -> Page:
    desk.possible = {"hytera_hrnp": ["locate", "check", "text", "track", "emergency_stop"]}
    desk.roles = list(roles)
    page = open_page(fresh=True)
    page.locator("[data-state=live]").wait_for()
    return page


def test_a_unit_is_located_and_the_outcome_is_shown(desk: FakeDesk, open_page: Open) -> None:
    page = switched_on(desk, open_page, "dispatcher")
    shown = card(desk, page)
    expect(shown.locator(".buttons button")).to_have_text(
        ["定位一次", "连续定位", "发短信", "呼叫检查"]
    )
    shown.get_by_text("定位一次").click()
    outcome = shown.locator(".outcome")
    expect(outcome).to_contain_text("等待电台上线")
    assert desk.posts[-1] == ("/api/units/u-9/locate", {})
    desk.put_command("c1", state="sent")
    expect(outcome).to_contain_text("已发出，等待回应")
    desk.put_command("c1", state="timed_out", why="no answer within 30 s")
    expect(outcome).to_contain_text("无回应（可能已送达）")
    expect(outcome).to_have_attribute("title", "no answer within 30 s")
    expect(outcome).to_contain_text("李明")


def test_a_late_answer_hides_nothing_that_was_said_since(desk: FakeDesk, open_page: Open) -> None:
    page = switched_on(desk, open_page, "dispatcher")
    shown = card(desk, page)
    desk.may_answer.clear()
    button = shown.get_by_role("button", name="定位一次")
    button.click()
    expect(shown.locator(".outcome")).to_contain_text("等待电台上线")  # by the stream
    desk.put_command("c1", state="sent")
    expect(shown.locator(".outcome")).to_contain_text("已发出，等待回应")
    expect(button).to_be_disabled()
    desk.may_answer.set()
    expect(button).to_be_enabled()
    expect(shown.locator(".outcome")).to_contain_text("已发出，等待回应")


def test_a_text_is_written_and_sent(desk: FakeDesk, open_page: Open) -> None:
    page = switched_on(desk, open_page, "dispatcher")
    shown = card(desk, page)
    shown.get_by_text("发短信").click()
    expect(shown.get_by_role("button", name="发送")).to_be_disabled()
    shown.locator("textarea").fill("请到东门 <b>")
    shown.get_by_role("button", name="发送").click()
    expect(shown.locator("textarea")).to_have_count(0)
    assert desk.posts[-1] == ("/api/units/u-9/text", {"body": "请到东门 <b>"})
    desk.put_command("c1", state="refused", why="<img src=x onerror=alert(1)>")
    expect(shown.locator(".outcome")).to_contain_text("未执行 · <img src=x")


def test_a_track_is_chosen_and_started(desk: FakeDesk, open_page: Open) -> None:
    page = switched_on(desk, open_page, "dispatcher")
    shown = card(desk, page)
    shown.get_by_role("button", name="连续定位").click()
    assert not desk.posts, "nothing is asked before it is said how often and for how long"
    shown.get_by_label("间隔").select_option(label="每 10 秒")
    shown.get_by_label("时长").select_option(label="持续 5 分钟")
    shown.get_by_role("button", name="开始").click()
    expect(shown.locator("form")).to_have_count(0)
    assert desk.posts[-1] == ("/api/units/u-9/track", {"every_s": 10, "for_s": 300})
    shown.get_by_role("button", name="连续定位").click()
    shown.get_by_role("button", name="发短信").click()
    expect(shown.locator("form")).to_have_count(1)


def test_a_refusal_is_shown_and_nothing_written_is_lost(desk: FakeDesk, open_page: Open) -> None:
    page = switched_on(desk, open_page, "dispatcher")
    shown = card(desk, page)
    shown.get_by_text("发短信").click()
    shown.locator("textarea").fill("请到东门")
    desk.refusal = (409, {"error": "not_allowed", "detail": "'text' is not in commands.allow"})
    shown.get_by_role("button", name="发送").click()
    expect(shown.locator("[role=alert]")).to_contain_text("commands.allow")
    expect(shown.locator("textarea")).to_have_value("请到东门")


def test_there_is_no_button_for_what_cannot_be_done(desk: FakeDesk, open_page: Open) -> None:
    desk.possible = {"jt808": ["locate"]}
    page = open_page(fresh=True)
    page.locator("[data-state=live]").wait_for()
    shown = card(desk, page)
    expect(shown).to_be_visible()
    expect(shown.locator(".commands")).to_have_count(0)


@pytest.mark.parametrize(
    ("role", "is_test", "buttons"),
    [("technician", False, 0), ("technician", True, 4), ("viewer", True, 0), ("admin", True, 0)],
)
def test_who_has_buttons(
    desk: FakeDesk, open_page: Open, role: str, *, is_test: bool, buttons: int
) -> None:
    page = switched_on(desk, open_page, role)
    shown = card(desk, page, is_test=is_test)
    expect(shown).to_be_visible()
    expect(shown.locator(".buttons button")).to_have_count(buttons)
