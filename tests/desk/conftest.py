"""A browser, a stand-in for the desk's server, and the page in it."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Route,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.desk.fake_desk import STATIC, FakeDesk, ago, serving

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    # The usual policy of a browser on a desk.
    "--autoplay-policy=document-user-activation-required",
    "--disable-features=MediaEngagementBypassAutoplayPolicies,PreloadMediaEngagementData",
)
TIMEOUT_MS = 20_000  # a busy machine starts pages slowly; where a time matters the test says it
VIEWPORT: ViewportSize = {"width": 1366, "height": 768}
WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""
# The policy once more, in the page itself. Whatever Playwright evaluates counts as a gesture for
# the browser: where it looked before the page made its sound, that was allowed from the start.
NO_SOUND_BEFORE_A_CLICK = """
const Real = window.AudioContext;
let isTouched = false;
for (const kind of ["pointerdown", "keydown"]) {
  window.addEventListener(kind, () => (isTouched = true), { capture: true });
}
window.AudioContext = class extends Real {
  constructor(...options) {
    super(...options);
    if (!isTouched) this.suspend();
  }
};
"""

Open = Callable[..., Page]


class Served(NamedTuple):
    """A stand-in and where it is."""

    desk: FakeDesk
    address: str


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # For a module only: Playwright keeps an event loop running in this thread while it is open.
    if not (STATIC / "index.html").is_file():
        text = "the desk page is not built; run make setup"
        if os.environ.get("PDT_NO_SKIPS") == "1":
            pytest.fail(text)
        pytest.skip(text)
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(FLAGS)
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One profile for all: each stand-in has an origin of its own, so nothing is shared."""
    profile = browser.new_context(viewport=VIEWPORT)
    profile.set_default_timeout(TIMEOUT_MS)
    profile.add_init_script(NO_SOUND_BEFORE_A_CLICK)
    yield profile
    profile.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Served]:
    """The stand-in behind the shared page."""
    fake = FakeDesk()
    with serving(fake) as address:
        yield Served(fake, address)


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """The shared stand-in for a test on the shared page, and one of its own for any other."""
    if "page" in request.fixturenames:
        again: Served = request.getfixturevalue("shared")
        again.desk.reset()
        yield again
        return
    fake = FakeDesk()
    with serving(fake) as address:
        yield Served(fake, address)


@pytest.fixture
def desk(served: Served) -> FakeDesk:
    """The stand-in with three units of two teams, one radio without a unit, two links, a site."""
    fake = served.desk
    fake.sites = [
        {"id": "plaza", "name": "商业广场", "lat_deg": 22.94, "lon_deg": 113.88, "ring_m": 100}
    ]
    place = {"lat_deg": 22.9412, "lon_deg": 113.8801, "fix_at": ago(4), "fix_received_at": ago(4)}
    mobile = {"team": "mobile-1", "team_name": "机动一队", "team_kind": "mobile"}
    village = {"team": "village-3", "team_name": "上涌村专职队", "team_kind": "village"}
    heard = {"heard_at": ago(4), "link_id": "hytera-1", "driver": "hytera_hrnp"}
    none = {**heard, "state": "no_fix"}
    fake.put_unit(unit_id="m-1", unit_name="机动01", radio_id="pdt:80020201", **mobile, **place)
    fake.put_unit(unit_id="m-2", unit_name="机动02", radio_id="pdt:80020202", **mobile, **none)
    place = {**place, "lat_deg": 22.9431}
    fake.put_unit(
        unit_id="v-1",
        unit_name="上涌01",
        radio_id="pdt:80020301",
        state="silent",
        **village,
        **place,
    )
    fake.put_unit(radio_id="pdt:80020999", **none)
    up = {"link_id": "hytera-1", "driver": "hytera_hrnp", "state": "up", "since": ago(90)}
    down = {"link_id": "gnss-1", "driver": "nmea0183", "state": "down", "since": ago(30)}
    fake.links = [up, {**down, "why": "gone (EIO)"}]
    return fake


@pytest.fixture(scope="module")
def shared_page(context: BrowserContext, shared: Served) -> Iterator[Page]:
    """One page for many tests, its sound enabled; opening one takes longer than most tests."""
    page = context.new_page()
    page.route("**/assets/board-map-*.js", _abort)
    page.goto(shared.address)
    page.locator("[data-notice=sound]").click()
    yield page
    page.close()


@pytest.fixture
def page(shared_page: Page, desk: FakeDesk) -> Iterator[Page]:
    """The shared page, showing what ``desk`` has now and nothing else."""
    desk.push("snapshot", desk.snapshot())
    shared_page.locator("#unit-m-1").wait_for()
    expect(shared_page.locator(".alarm, dialog, .card")).to_have_count(0)
    expect(shared_page.locator(".desk")).to_have_attribute("data-sound", "ready")
    yield shared_page
    desk.may_answer.set()
    expect(shared_page.locator(".desk.acting")).to_have_count(0)  # no answer is for the next test


@pytest.fixture
def open_page(
    browser: Browser, context: BrowserContext, desk: FakeDesk, served: Served
) -> Iterator[Open]:
    """Opens a page of its own; without the map unless asked, which saves a second of drawing.

    ``fresh`` gives it a profile in which nobody has clicked yet.
    """
    opened: list[Page] = []
    profiles: list[BrowserContext] = []

    def open_it(
        path: str = "/", *, with_map: bool = False, clock: bool = False, fresh: bool = False
    ) -> Page:
        own = fresh or clock  # Playwright's clock is that of every page of a profile
        profile = browser.new_context(viewport=VIEWPORT) if own else context
        if own:
            profile.set_default_timeout(TIMEOUT_MS)
            profile.add_init_script(NO_SOUND_BEFORE_A_CLICK)
            profiles.append(profile)
        page = profile.new_page()
        opened.append(page)
        page.add_init_script(WATCH)
        page.on("request", lambda request: desk.requested.append(request.url))
        if clock:
            page.clock.install()
        if with_map:
            page.set_viewport_size({"width": 900, "height": 420})  # drawn without a graphics card
        else:
            page.route("**/assets/board-map-*.js", _abort)
        page.goto(served.address + path)
        return page

    yield open_it
    for page in opened:
        page.close()
    for profile in profiles:
        profile.close()


def _abort(route: Route) -> None:
    route.abort()
