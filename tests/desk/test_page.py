"""The desk page in a real browser: what a dispatcher sees, hears and does."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.desk.fake_desk import FakeDesk, ago

Open = Callable[..., Page]
pytestmark = pytest.mark.needs("chromium")

CHINESE = re.compile(r"[\u3400-\u9fff]")
FIX = {"lat_deg": 22.9412, "lon_deg": 113.8801}


def shown(page: Page) -> Page:
    """The page, once the first snapshot is on it."""
    page.locator("[data-state=live]").wait_for()
    return page


def test_alarm_is_seen_and_heard_within_two_seconds(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency(
        "e1", unit_id="m-1", unit_name="机动01", fix=FIX, frames=5, team="mobile-1"
    )
    banner = page.locator(".alarm.big")
    banner.wait_for(timeout=2000)
    expect(banner).to_contain_text("紧急报警")
    expect(banner).to_contain_text("机动01")
    expect(banner).to_contain_text("机动一队")
    expect(banner).to_contain_text("商业广场北方向 130 米")
    expect(banner).to_contain_text("22.941200, 113.880100")
    expect(banner).to_contain_text("重复 5 帧")
    box = banner.bounding_box()
    assert box is not None
    assert box["width"] == 1366
    assert box["y"] == 0
    expect(page.locator(".desk")).to_have_attribute("data-sound", "sounding", timeout=1000)
    expect(page).to_have_title(re.compile("紧急报警 机动01"))


def test_sound_that_is_not_enabled_is_announced_and_begins_with_the_first_click(
    desk: FakeDesk, open_page: Open
) -> None:
    page = shown(open_page(fresh=True))
    expect(page.locator("[data-notice=sound]")).to_contain_text("点击启用声音")
    desk.raise_emergency("e1")
    page.locator(".alarm.big").wait_for()
    expect(page.locator(".desk")).to_have_attribute("data-sound", "blocked")
    page.locator("[data-notice=sound]").click()
    expect(page.locator(".desk")).to_have_attribute("data-sound", "sounding")
    expect(page.locator("[data-notice=sound]")).to_have_count(0)
    expect(page.locator(".bar .sound")).to_contain_text("告警鸣响中")


def test_taking_stops_the_sound_of_that_alarm_only(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency("e1", unit_id="m-1", unit_name="机动01", raised_at=ago(30))
    desk.raise_emergency("e2", unit_id="v-1", unit_name="上涌01", radio_id="pdt:80020301")
    expect(page.locator("[data-id=e2] .take")).to_be_enabled()
    page.keyboard.press("F2")  # the newest
    expect(page.locator("[data-id=e2]")).to_have_attribute("data-phase", "taken")
    expect(page.locator("[data-id=e2]")).to_contain_text("李明 已接警")
    expect(page.locator(".desk")).to_have_attribute("data-sound", "sounding")
    page.locator("[data-id=e1] .take").click()
    expect(page.locator(".desk")).to_have_attribute("data-sound", "ready")
    expect(page.locator(".alarm")).to_have_count(2)  # they stay until somebody closes them
    desk.raise_emergency("e3", kind="man_down")
    expect(page.locator(".desk")).to_have_attribute("data-sound", "sounding")
    expect(page.locator(".alarm.big")).to_contain_text("倒地")


def test_a_taking_that_could_not_be_stored_sounds_again(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency("e1", phase="taken", taken_by="王芳", taken_at=ago())
    expect(row(page, "e1")).to_have_attribute("data-phase", "taken")
    desk.raise_emergency("e1", phase="open", taken_by=None, taken_at=None)
    expect(row(page, "e1")).to_have_attribute("data-phase", "open")
    expect(page.locator(".desk")).to_have_attribute("data-sound", "sounding")


def test_late_answer_hides_nothing_that_was_said_since(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency("e1")
    desk.raise_emergency("e2", radio_id="pdt:80020202", raised_at=ago(30))
    desk.may_answer.clear()
    for emergency_id in ("e1", "e2"):
        row(page, emergency_id).locator(".take").click()
        expect(row(page, emergency_id)).to_have_attribute("data-phase", "taken")
    desk.raise_emergency("e1", phase="closed", closed_by="王芳", verdict="false")
    desk.raise_emergency("e2", taken_by="王芳", taken_at=ago(-1))
    desk.push("snapshot", desk.snapshot())  # as after a broken connection
    expect(row(page, "e1")).to_have_count(0)
    expect(row(page, "e2")).to_contain_text("王芳 已接警")
    desk.may_answer.set()
    expect(page.locator(".desk.acting")).to_have_count(0)
    expect(row(page, "e1")).to_have_count(0)
    expect(row(page, "e2")).to_contain_text("王芳 已接警")


def test_closing_asks_for_a_verdict_and_takes_a_note_by_keyboard(
    desk: FakeDesk, page: Page
) -> None:
    desk.raise_emergency("e1", unit_id="m-1", unit_name="机动01", phase="taken", taken_by="李明")
    page.locator("[data-id=e1]").wait_for()
    page.keyboard.press("F4")
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("机动01")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("请选择结论")
    page.keyboard.press("2")
    dialog.locator("textarea").fill("按错了")
    page.keyboard.press("Enter")
    expect(page.locator(".alarm")).to_have_count(0)
    expect(dialog).to_have_count(0)
    assert desk.posts[-1] == (
        "/api/emergencies/e1/close",
        {"verdict": "false", "note": "按错了"},
    )


def test_escape_leaves_the_closing_dialog_and_the_alarm(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency("e1", phase="taken", taken_by="李明")
    page.locator("[data-id=e1] .close").click()
    page.locator("dialog").wait_for()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.locator(".alarm")).to_have_count(1)
    assert desk.posts == []


def test_refusal_is_shown_in_words_and_the_alarm_goes_on(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency("refused")
    desk.refusal = (503, {"error": "not_stored", "detail": "no space left on device"})
    page.locator(".take").click()
    expect(page.locator(".alarm .error")).to_contain_text("操作没有完成")
    expect(page.locator(".desk")).to_have_attribute("data-sound", "sounding")
    desk.refusal = (409, {"error": "not_allowed", "detail": "already closed by 王芳 (已结案)"})
    page.locator(".take").click()
    expect(page.locator(".alarm .error")).to_contain_text("already closed by 王芳")


def test_an_address_that_is_not_allowed_only_claims_to_be_a_unit(
    desk: FakeDesk, page: Page
) -> None:
    doubt = "sender not on the allow list"
    desk.raise_emergency("e1", unit_name="机动01", verified=False, doubt=doubt)
    expect(page.locator(".alarm.big")).to_contain_text("自称，来源地址未经允许")
    expect(page.locator(".alarm.big .doubt")).to_contain_text("来源地址不在允许名单")
    desk.raise_emergency("e2")
    expect(page.locator("[data-id=e2]")).to_contain_text("未注册电台")


def test_what_is_not_verified_stands_below_what_is(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency("real", raised_at=ago(30))
    for number in range(3):
        desk.raise_emergency(f"forged-{number}", verified=False, radio_id=f"pdt:8002090{number}")
    expect(page.locator(".alarm")).to_have_count(4)
    expect(page.locator(".alarm.big")).to_have_attribute("data-id", "real")
    expect(page.locator("[data-id=real] .take")).to_be_enabled()
    page.keyboard.press("F2")
    expect(page.locator("[data-id=real]")).to_have_attribute("data-phase", "taken")


def many(desk: FakeDesk, number: int = 12) -> None:
    """So many untaken alarms, ``a1`` the oldest."""
    for i in range(1, number + 1):
        unit = {"unit_id": f"m-{i}", "unit_name": f"机动{i:02d}", "radio_id": f"pdt:800202{i:02d}"}
        desk.raise_emergency(f"a{i}", fix=FIX, raised_at=ago(10 * (number + 1 - i)), **unit)


def row(page: Page, emergency_id: str) -> Locator:
    """One alarm's row."""
    return page.locator(f".alarm[data-id={emergency_id}]")


def expect_read(page: Page, emergency_id: str) -> None:
    """The whole row can be read, where the list stands now."""
    expect(row(page, emergency_id)).to_be_in_viewport(ratio=0.95)


def test_a_new_alarm_is_seen_however_the_list_is_scrolled(desk: FakeDesk, page: Page) -> None:
    many(desk)
    expect(page.locator(".alarm")).to_have_count(12)
    page.locator("[data-id=a1]").scroll_into_view_if_needed()
    expect(row(page, "a12")).not_to_be_in_viewport()
    desk.raise_emergency("new", unit_id="m-20", unit_name="机动20", radio_id="pdt:80020220")
    expect(page.locator(".alarm.big")).to_have_attribute("data-id", "new")
    expect_read(page, "new")


def test_f2_takes_no_alarm_that_is_out_of_view(desk: FakeDesk, page: Page) -> None:
    many(desk)
    expect(page.locator("[data-id=a12] .take")).to_be_enabled()
    page.locator("[data-id=a1]").scroll_into_view_if_needed()
    page.keyboard.press("F2")
    expect_read(page, "a12")
    assert desk.posts == []
    with page.expect_response("**/take"):
        page.keyboard.press("F2")
    expect(page.locator("[data-id=a12]")).to_have_attribute("data-phase", "taken")


def test_a_click_on_a_row_that_has_just_moved_does_not_count(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency("e1", raised_at=ago(60))
    expect(row(page, "e1").locator(".take")).to_be_enabled()
    page.evaluate(
        """() => new MutationObserver(() => (window.wasHeld = true)).observe(
             document.querySelector("[data-id=e1] .take"), { attributeFilter: ["disabled"] })"""
    )
    desk.raise_emergency("e2", radio_id="pdt:80020202")
    expect(row(page, "e2").locator(".take")).to_be_enabled()
    expect(row(page, "e1").locator(".take")).to_be_enabled()
    assert page.evaluate("window.wasHeld") is True


def test_rows_out_of_view_are_counted_at_the_edge(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency("taken", phase="taken", taken_by="王芳", raised_at=ago(600))
    many(desk)
    expect(page.locator(".alarm")).to_have_count(13)
    below = page.locator("[data-edge=moreBelow]")
    expect(below).to_contain_text("下面还有 9 起")
    expect(below).to_contain_text("8 起无人接警")
    expect_read(page, "a9")
    expect(row(page, "a8")).not_to_be_in_viewport(ratio=0.95)
    page.locator("[data-id=taken]").scroll_into_view_if_needed()
    expect(below).to_have_count(0)
    page.locator("[data-edge=moreAbove]").click()
    expect(page.locator("[data-edge=moreAbove]")).to_have_count(0)
    expect_read(page, "a12")


def test_a_long_name_leaves_the_marks_in_view(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency(
        "e1",
        unit_id="m-1",
        unit_name="榕溪镇" + "上涌村专职治安联防队第三机动小组" * 8,
        verified=False,
        doubt="unknown source",
        ended_at=ago(1),
    )
    expect_read(page, "e1")
    expect(row(page, "e1").locator(".ended")).to_be_in_viewport(ratio=1)


def test_the_wall_shows_a_dozen_alarms_at_once(desk: FakeDesk, open_page: Open) -> None:
    page = shown(open_page("/?wall=1"))
    page.set_viewport_size({"width": 1920, "height": 1080})
    many(desk)
    expect(page.locator(".alarm")).to_have_count(12)
    for i in range(1, 13):
        expect_read(page, f"a{i}")


def test_f8_shows_the_alarm_that_it_is_written_on(desk: FakeDesk, page: Page) -> None:
    labelled = page.locator(".alarm", has=page.locator("kbd", has_text="F8"))
    facts = {"unit_id": "m-9", "radio_id": "pdt:80020209"}
    desk.raise_emergency("a", fix=FIX, raised_at=ago(60), **facts)
    desk.raise_emergency("b", fix=FIX, raised_at=ago(30), **facts)
    expect(labelled).to_have_attribute("data-id", "b")
    page.keyboard.press("F8")
    expect(labelled).to_have_attribute("data-id", "a")
    desk.raise_emergency("c", fix=FIX, **facts)
    expect(labelled).to_have_attribute("data-id", "c")
    page.keyboard.press("F8")
    expect(labelled).to_have_attribute("data-id", "b")
    page.keyboard.press("F8")
    page.keyboard.press("F8")
    expect(labelled).to_have_attribute("data-id", "c")


def test_f8_on_an_alarm_without_a_place_says_so(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency("e1", radio_id="pdt:80020998")
    page.locator("[data-id=e1]").wait_for()
    page.keyboard.press("F8")
    expect(page.locator(".toast")).to_have_text("80020998 · 没有位置：请呼叫询问")


def test_f8_after_a_change_of_the_list_centres_the_first_row(
    desk: FakeDesk, open_page: Open
) -> None:
    page = shown(open_page(with_map=True))
    page.locator(".map canvas").wait_for()
    page.locator("#unit-m-1").click()  # the operator has zoomed in somewhere
    page.keyboard.press("Escape")
    desk.raise_emergency("a", fix={"lat_deg": 22.99, "lon_deg": 113.95}, radio_id="pdt:80020997")
    go = page.locator(".go")
    expect(go).to_contain_text("80020997")
    page.keyboard.press("F8")
    expect(go).to_have_count(0)
    desk.raise_emergency("b", fix={"lat_deg": 22.90, "lon_deg": 113.80}, radio_id="pdt:80020998")
    expect(go).to_contain_text("80020998")
    expect(go.locator("kbd")).to_have_text("F8")
    page.keyboard.press("F8")
    expect(go).to_contain_text("80020997")
    expect(go.locator("kbd")).to_have_text("F8")


def test_a_radio_whose_clock_is_ahead_does_not_hold_up_the_later_place(
    desk: FakeDesk, page: Page
) -> None:
    ahead = {**FIX, "fix_at": ago(-7200)}
    past = ago(900)
    desk.raise_emergency("e1", unit_id="m-1", fix=ahead, raised_at=past, refreshed_at=past)
    where = page.locator("[data-id=e1] .where")
    now = {"lat_deg": 22.96, "lon_deg": 113.91, "fix_at": ago(2), "fix_received_at": ago(2)}
    desk.put_unit(unit_id="m-1", unit_name="机动01", radio_id="pdt:80020201", **now)
    expect(where).to_contain_text("22.960000, 113.910000")
    lone = {"radio_id": "pdt:80020998", "raised_at": past, "refreshed_at": past}
    desk.raise_emergency("e2", fix=ahead, **lone)
    expect(page.locator("[data-id=e2] .where")).to_contain_text("定位 15 分前")
    desk.raise_emergency("e3", fix={**FIX, "fix_at": ago(400 * 86_400)}, **lone)
    expect(page.locator("[data-id=e3] .where")).to_contain_text("定位 15 分前")
    desk.raise_emergency("e4", fix={**FIX, "fix_at": ago(1800)}, **lone)
    expect(page.locator("[data-id=e4] .where")).to_contain_text("定位 30 分前")


def test_doubt_end_and_drill_are_marked(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency(
        "e1", verified=False, doubt="unknown source", is_drill=True, ended_at=ago(1), kind="vehicle"
    )
    banner = page.locator(".alarm")
    for text in ("车辆报警", "来源未核实", "unknown source", "演练", "电台已解除", "首次"):
        expect(banner).to_contain_text(text)


def test_alarm_without_a_place_says_so(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency("e1", radio_id="pdt:80020998")
    expect(page.locator(".alarm")).to_contain_text("没有位置")
    expect(page.locator(".alarm")).to_contain_text("未注册电台")


def test_last_known_place_is_not_shown_as_the_present_one(desk: FakeDesk, page: Page) -> None:
    desk.raise_emergency("e1", radio_id="pdt:80020998", fix={**FIX, "age_s": 120.0})
    expect(page.locator(".alarm .warn")).to_contain_text("最后已知位置")
    expect(page.locator(".alarm .warn")).to_contain_text("定位 2 分前")


def test_viewer_has_no_buttons_to_act_with(desk: FakeDesk, open_page: Open) -> None:
    desk.roles = ["viewer"]
    page = shown(open_page())
    desk.raise_emergency("e1", fix=FIX)
    expect(page.locator(".alarm")).to_contain_text("等待接警")
    expect(page.locator(".take, .close")).to_have_count(0)
    page.keyboard.press("F2")
    expect(page.locator(".links")).to_have_count(0)
    assert desk.posts == []


def test_wall_is_read_only_even_for_a_dispatcher(desk: FakeDesk, open_page: Open) -> None:
    page = shown(open_page("/?wall=1"))
    desk.raise_emergency("e1", fix=FIX)
    expect(page.locator(".alarm.big")).to_be_visible()
    expect(page.locator(".take, .units")).to_have_count(0)
    expect(page.locator(".wall-bar")).to_contain_text("失联")
    page.keyboard.press("F2")
    assert desk.posts == []


def test_nothing_is_fetched_from_elsewhere_and_the_policy_is_kept(
    desk: FakeDesk, open_page: Open
) -> None:
    desk.base_map = {"type": "FeatureCollection", "features": []}
    page = shown(open_page(with_map=True))
    page.locator(".map canvas").wait_for()
    page.locator("#unit-m-1").click()
    desk.raise_emergency("e1", unit_id="m-1", unit_name="机动01", fix=FIX)
    page.locator(".alarm-ring").wait_for(state="attached")
    page.get_by_role("button", name="English").click()
    page.wait_for_timeout(300)
    own = f"{urlsplit(page.url).scheme}://{urlsplit(page.url).netloc}/"
    assert any("board-map" in url for url in desk.requested)
    assert any("worker" in url for url in desk.requested)
    assert any(url.endswith("/api/map") for url in desk.requested)
    elsewhere = [url for url in desk.requested if not url.startswith((own, "data:", "blob:"))]
    assert elsewhere == []
    assert page.evaluate("window.violations") == []


def test_markup_in_a_name_is_text(desk: FakeDesk, page: Page) -> None:
    name = '<img src=x onerror="window.hacked=1"><b>机动</b>'
    desk.put_unit(
        unit_id="x-1",
        unit_name=name,
        team="x",
        team_name="<i>队</i>",
        radio_id="pdt:80020400",
        doubt="<script>window.hacked=1</script>",
        **FIX,
    )
    desk.raise_emergency("e1", unit_id="x-1", unit_name=name, radio_id="pdt:80020400", fix=FIX)
    page.locator("#unit-x-1").click()
    for part in (".alarm .who", "#unit-x-1", ".card h2"):
        expect(page.locator(part)).to_contain_text(name)
    expect(page.locator(".card")).to_contain_text("<script>window.hacked=1</script>")
    page.wait_for_timeout(300)
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.hacked") is None
    page.keyboard.press("Escape")


def test_search_finds_by_name_number_and_team(page: Page) -> None:
    expect(page.locator(".unit")).to_have_count(4)
    page.keyboard.press("/")
    expect(page.locator("#unit-search")).to_be_focused()
    for text, found in (("80020301", "上涌01"), ("机动02", "机动02"), ("专职队", "上涌01")):
        page.locator("#unit-search").fill(text)
        expect(page.locator(".unit")).to_have_count(1)
        expect(page.locator(".unit")).to_contain_text(found)
    page.keyboard.press("Enter")
    expect(page.locator(".card h2")).to_have_text("上涌01")
    page.keyboard.press("Escape")  # leaves the field and forgets the search
    expect(page.locator(".unit")).to_have_count(4)
    page.keyboard.press("Escape")
    expect(page.locator(".card")).to_have_count(0)


def test_states_are_counted_and_filter_the_list(page: Page) -> None:
    expect(page.locator("[data-filter=no_fix]")).to_contain_text("2")
    page.locator("[data-filter=unregistered]").click()
    expect(page.locator(".unit")).to_have_count(1)
    expect(page.locator(".unit")).to_contain_text("80020999")
    expect(page.locator(".rows h2")).to_contain_text("未注册电台")
    page.locator("[data-filter=unregistered]").click()
    page.locator("select").select_option("mobile-1")
    expect(page.locator(".unit")).to_have_count(2)
    page.locator("select").select_option("")


def test_unit_without_a_position_is_listed_but_not_placed(page: Page) -> None:
    expect(page.locator("#unit-m-2 .age")).to_have_text("无")
    page.locator("#unit-m-2").click()
    expect(page.locator(".card")).to_contain_text("从未定位")
    expect(page.locator(".card")).to_contain_text("没有位置，不在地图上")
    expect(page.locator(".card footer")).to_have_count(0)
    page.keyboard.press("Escape")


def test_english_is_complete_and_remembered(desk: FakeDesk, open_page: Open) -> None:
    desk.place["site_name"] = "Banyan Creek"
    for unit in desk.units.values():
        unit.pop("team_name", None)
        if "unit_id" in unit:
            unit["unit_name"] = unit["unit_id"]
    desk.sites[0]["name"] = "Plaza"
    page = shown(open_page())
    page.get_by_role("button", name="English").click()
    desk.raise_emergency(
        "e1", unit_id="m-1", unit_name="m-1", fix=FIX, phase="taken", taken_by="Li", team="mobile-1"
    )
    page.locator("#unit-m-1").click()
    row(page, "e1").wait_for()
    page.keyboard.press("F4")
    page.locator("dialog").wait_for()
    text = page.locator("body").inner_text().replace("中文", "").replace("李明", "")
    assert "EMERGENCY ALARM" in text
    assert "130 m north of Plaza" in text
    assert CHINESE.findall(text) == []
    page.reload()
    shown(page)
    assert page.locator("html").get_attribute("lang") == "en"
    expect(page.locator(".bar")).to_contain_text("Dispatch desk")


def test_lost_stream_greys_the_picture_and_says_how_old_it_is(
    desk: FakeDesk, open_page: Open
) -> None:
    page = shown(open_page(clock=True))
    desk.raise_emergency("e1", unit_id="m-1", unit_name="机动01")
    page.locator("[data-id=e1]").wait_for()
    desk.cut()
    page.locator("[data-state=connecting]").wait_for()
    expect(page.locator("[data-notice=old]")).to_have_count(0)
    page.clock.fast_forward(6_000)
    expect(page.locator("[data-notice=old]")).to_contain_text(re.compile("数据已 [67] 秒未更新"))
    expect(page.locator(".desk.old")).to_be_visible()
    expect(page.locator("[data-id=e1]")).to_be_visible()
    del desk.emergencies["e1"]  # closed by a colleague meanwhile
    desk.raise_emergency("e2", unit_id="v-1", unit_name="上涌01")
    desk.mend()
    page.clock.fast_forward(6_000)
    expect(page.locator("[data-notice=old]")).to_have_count(0)
    expect(page.locator("[data-id=e2]")).to_be_visible()
    expect(page.locator("[data-id=e1]")).to_have_count(0)


def test_stream_that_falls_silent_without_ending_is_noticed(
    desk: FakeDesk, open_page: Open
) -> None:
    page = shown(open_page(clock=True))
    desk.is_stalled = True
    page.wait_for_timeout(1100)  # the last heartbeat on its way
    page.clock.fast_forward(8_000)
    expect(page.locator("[data-notice=old]")).to_be_visible()


def test_gateway_that_does_not_accept_is_announced(desk: FakeDesk, page: Page) -> None:
    desk.gateway = {"is_accepting": False, "why": "disk full"}
    desk.audit_ok = False
    desk.push("gateway", {"gateway": desk.snapshot()["gateway"], "audit_ok": desk.audit_ok})
    notice = page.locator("[data-notice=not-accepting]")
    expect(notice).to_contain_text("网关不再接收新数据")
    expect(notice).to_contain_text("disk full")
    expect(page.locator("[data-notice=audit]")).to_be_visible()


HEAR_NOTES = """() => {
  window.notes = [];
  window.OscillatorNode = class extends OscillatorNode {
    constructor(context, options) {
      super(context, options);
      window.notes.push(options.type);
    }
  };
}"""


def listening(open_page: Open, path: str = "/") -> Page:
    """A page of its own whose sound is enabled and whose clock can be moved."""
    page = shown(open_page(path, clock=True, fresh=True))
    page.locator("[data-notice=sound]").click()
    expect(page.locator("[data-sound]").first).to_have_attribute("data-sound", "ready")
    return page


def expect_sound(page: Page, state: str) -> None:
    """What the page sounds like now, whichever page it is."""
    expect(page.locator(".desk, .sign-in")).to_have_attribute("data-sound", state)


def test_a_desk_that_hears_nothing_sounds_calmly_and_says_so(
    desk: FakeDesk, open_page: Open
) -> None:
    page = listening(open_page)
    page.evaluate(HEAR_NOTES)
    desk.cut()
    page.locator("[data-state=connecting]").wait_for()
    page.clock.fast_forward(8_000)
    expect(page.locator(".alarm-count")).to_have_text("告警：未知")
    expect_sound(page, "ready")
    assert page.evaluate("window.notes") == [], "a reconnect makes no noise"
    page.clock.fast_forward(8_000)
    expect_sound(page, "deaf")
    expect(page).to_have_title("⚠ 席位收不到报警")
    expect(page.locator(".bar .sound")).to_contain_text("收不到报警")
    expect(page.locator("[data-notice=old]")).to_contain_text("席位收不到报警")
    assert page.evaluate("window.notes") == ["sine", "sine"]
    page.clock.fast_forward(10_000)
    assert page.evaluate("window.notes") == ["sine"] * 4
    desk.mend()
    page.clock.fast_forward(6_000)
    expect_sound(page, "ready")
    expect(page).to_have_title("榕溪镇 · 指挥调度席")
    expect(page.locator(".alarm-count")).to_have_text("无告警")


def test_a_gateway_that_takes_no_alarms_in_is_heard_and_an_alarm_is_heard_first(
    desk: FakeDesk, open_page: Open
) -> None:
    page = listening(open_page, "/?wall=1")
    desk.gateway = {"is_accepting": False, "why": "disk full"}
    desk.push("gateway", {"gateway": desk.snapshot()["gateway"], "audit_ok": True})
    expect(page.locator(".alarm-count")).to_have_text("告警：未知")
    expect_sound(page, "ready")
    page.clock.fast_forward(16_000)
    expect_sound(page, "deaf")
    expect(page).to_have_title("⚠ 席位收不到报警")
    desk.raise_emergency("e1", unit_id="m-1", unit_name="机动01")
    expect_sound(page, "sounding")
    expect(page).to_have_title(re.compile("紧急报警 机动01"))
    desk.raise_emergency("e1", phase="taken", taken_by="王芳")
    expect_sound(page, "deaf")
    desk.gateway = {"is_accepting": True}
    desk.push("gateway", {"gateway": desk.snapshot()["gateway"], "audit_ok": True})
    expect_sound(page, "ready")


def test_an_untaken_alarm_sounds_on_when_the_session_ends(desk: FakeDesk, open_page: Open) -> None:
    page = listening(open_page)
    desk.raise_emergency("e1", unit_id="m-1", unit_name="机动01")
    expect_sound(page, "sounding")
    desk.is_signed_in = False
    desk.push("bye", {"why": "signed_out"})
    expect(page.locator(".sign-in .missed")).to_contain_text("告警未处理，请登录")
    expect(page.locator(".sign-in .missed")).to_contain_text("紧急报警 机动01")
    expect(page).to_have_title(re.compile("紧急报警 机动01"))
    expect_sound(page, "sounding")
    page.locator("[autocomplete=username]").fill("李明")
    page.locator("[type=password]").fill("right enough")
    page.locator("button[type=submit]").click()
    expect_sound(page, "sounding")
    page.locator(".alarm .take").click()
    expect_sound(page, "ready")


def test_a_session_that_ends_in_quiet_is_heard_after_a_while(
    desk: FakeDesk, open_page: Open
) -> None:
    page = listening(open_page)
    desk.is_signed_in = False
    desk.push("bye", {"why": "signed_out"})
    expect(page.locator(".sign-in .missed")).to_contain_text("席位收不到报警")
    expect_sound(page, "ready")
    page.clock.fast_forward(16_000)
    expect_sound(page, "deaf")
    expect(page).to_have_title("⚠ 席位收不到报警")
    page.locator("[autocomplete=username]").fill("李明")
    page.locator("[type=password]").fill("right enough")
    page.locator("button[type=submit]").click()
    shown(page)
    expect_sound(page, "ready")


def test_a_page_that_is_loaded_while_the_gateway_is_away_says_so_too(
    desk: FakeDesk, open_page: Open
) -> None:
    page = listening(open_page)
    page.route("**/api/me", lambda route: route.abort())
    page.reload()
    expect(page.locator(".starting")).to_contain_text("连不上网关")
    page.clock.fast_forward(16_000)
    expect(page.locator(".missed")).to_contain_text("席位收不到报警")
    expect(page).to_have_title("⚠ 席位收不到报警")
    page.unroute("**/api/me")
    page.clock.fast_forward(3_000)
    shown(page)
    expect(page).to_have_title("榕溪镇 · 指挥调度席")


def test_who_signs_out_leaves_a_silent_page(desk: FakeDesk, open_page: Open) -> None:
    page = listening(open_page)
    desk.raise_emergency("e1")
    expect_sound(page, "sounding")
    page.get_by_role("button", name="退出").click()
    page.locator(".sign-in form").wait_for()
    expect_sound(page, "ready")
    page.clock.fast_forward(16_000)
    expect(page).to_have_title(re.compile("^登录"))
    expect(page.locator(".missed")).to_have_count(0)
    expect_sound(page, "ready")


def test_link_in_trouble_is_listed_with_since_and_why(desk: FakeDesk, page: Page) -> None:
    expect(page.locator(".links")).to_contain_text("1 条异常")
    expect(page.locator(".links li")).to_have_count(1)
    expect(page.locator(".links li")).to_contain_text("断开")
    expect(page.locator(".links li")).to_contain_text("gone (EIO)")
    desk.put_link(1, state="up", since=ago(1))
    expect(page.locator(".links")).to_contain_text("2 条链路全部正常")


def test_one_time_link_signs_in_and_leaves_the_address_bar(desk: FakeDesk, open_page: Open) -> None:
    desk.is_signed_in = False
    page = open_page("/#sign-in=secret-token")
    page.locator("input").first.fill("李明")
    assert "secret-token" not in page.url
    page.locator("button[type=submit]").click()
    shown(page)
    assert desk.posts == [
        ("/api/sign-in/link", {"token": "secret-token"}),
        ("/api/sign-in", {"token": "secret-token", "name": "李明"}),
    ]
    expect(page.locator(".me")).to_contain_text("李明")


def test_used_link_falls_back_to_name_and_password(desk: FakeDesk, open_page: Open) -> None:
    desk.is_signed_in = False
    desk.refusal = (401, {"error": "wrong_credentials", "detail": "used"})
    page = open_page("/#sign-in=used")
    expect(page.locator(".problem")).to_contain_text("链接无效或已使用过")
    page.locator("[autocomplete=username]").fill("李明")
    page.locator("[type=password]").fill("wrong")
    desk.refusal = (401, {"error": "wrong_credentials", "detail": "no"})
    page.locator("button[type=submit]").click()
    expect(page.locator(".problem")).to_contain_text("账号或密码不对")
    page.locator("[type=password]").fill("right enough")
    page.locator("button[type=submit]").click()
    shown(page)


def test_what_is_missing_is_said_in_the_language_of_the_page(
    desk: FakeDesk, open_page: Open
) -> None:
    desk.is_signed_in = False
    page = open_page("/#sign-in=secret-token")
    problem = page.locator(".problem")
    page.get_by_role("button", name="进入席位").click()
    expect(problem).to_have_text("请填写姓名")
    page.locator("[autocomplete=username]").fill("李明")
    page.locator("[type=password]").fill("short")
    page.get_by_role("button", name="进入席位").click()
    expect(problem).to_contain_text("密码至少 10 个字符")
    assert [path for path, _ in desk.posts] == ["/api/sign-in/link"], "nothing was tried"


def test_ended_session_leads_to_the_sign_in_page(desk: FakeDesk, open_page: Open) -> None:
    page = shown(open_page())
    desk.is_signed_in = False
    desk.push("bye", {"why": "signed_out"})
    expect(page.locator(".sign-in .notice")).to_contain_text("登录已过期")


def test_map_draws_units_and_is_never_moved_by_an_alarm(desk: FakeDesk, open_page: Open) -> None:
    page = shown(open_page(with_map=True))
    page.locator("#unit-m-1").click()  # centres it
    page.locator(".card .quiet").click()
    map_box = page.locator(".map").bounding_box()
    assert map_box is not None
    middle = (map_box["x"] + map_box["width"] / 2, map_box["y"] + map_box["height"] / 2)
    page.locator(".map canvas").wait_for()
    for _ in range(20):  # until the movement has ended and the units are drawn again
        page.wait_for_timeout(1000)
        page.mouse.click(*middle)
        if page.locator(".card").count():
            break
    expect(page.locator(".card h2")).to_have_text("机动01")
    page.keyboard.press("Escape")
    far = {"lat_deg": 22.99, "lon_deg": 113.95}
    desk.raise_emergency("e1", radio_id="pdt:80020998", fix=far)
    go = page.locator(".go")
    expect(go).to_contain_text("告警在画面之外")
    go.click()
    expect(go).to_have_count(0)


def test_alarms_and_list_work_without_a_map(desk: FakeDesk, page: Page) -> None:
    expect(page.locator(".map-problem")).to_be_visible()
    desk.raise_emergency("e1")
    expect(page.locator(".alarm.big")).to_be_visible()
    expect(page.locator(".unit")).to_have_count(4)


def test_the_promised_age_of_fixes_is_shown_by_class(desk: FakeDesk, open_page: Open) -> None:
    promise = {"units": 12, "requests_a_min": 144.0, "interval_s": 5.0, "worst_age_s": 7.2}
    desk.gateway = {
        "is_accepting": True,
        "airtime": [
            {
                "channel": "channel-1",
                "budget_a_min": 1000.0,
                "asked_last_min": 669,
                "passed_over": 3,
                "promises": {
                    "responding": promise,
                    "idle": promise | {"units": 212, "worst_age_s": 602.2},
                },
            }
        ],
    }
    page = shown(open_page())
    panel = page.locator(".airtime")
    expect(panel).to_contain_text("每分钟 669 / 1000 次")
    expect(panel.locator("li[data-class=responding]")).to_have_text(re.compile(r"附近 12\s*≤ 8 秒"))
    expect(panel.locator("li[data-class=idle]")).to_have_text(re.compile(r"待命 212\s*≤ 11 分"))
