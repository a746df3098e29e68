"""Runs the channels on the live board: looks at the units, asks who is due, says what it promises.

A radio that reports by itself, and did so lately, is not asked: its turn passes and the air stays
free. Only radios that were heard on a channel's links, and whose driver can ask, are in a schedule.
"""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from gateway.airtime.channel import Channel
from gateway.airtime.classes import class_of, places_of
from gateway.clock import Clock
from gateway.model.emergency import Emergency
from gateway.model.identity import RadioId
from gateway.model.views import ChannelView, UnitView
from gateway.settings import AirtimeSettings

LOOK_S = 2.0  # how often the classes are looked at anew
IDLE_S = 0.5  # the longest sleep, so that a new emergency is not slept through
FRESH_SHARE = 0.5  # of the class's interval: a fix younger than this is not asked for
MINUTE_S = 60.0


class Units(Protocol):
    """The live board."""

    def units(self) -> Sequence[UnitView]:
        """Every unit, and every radio without one."""
        ...

    def open_emergencies(self) -> Sequence[Emergency]:
        """Every emergency that no person has closed."""
        ...


class Asker(Protocol):
    """The way down to the radios."""

    def can_locate(self, radio_id: RadioId) -> bool:
        """Whether this radio's driver can ask for a position, and commands are on."""
        ...

    def locate(self, radio_id: RadioId) -> bool:
        """Ask for one position and keep no record of it; False where it did not go out."""
        ...


class Keeper:
    """One channel; see the module's docstring."""

    def __init__(self, settings: AirtimeSettings, units: Units, asker: Asker, clock: Clock) -> None:
        self._settings = settings
        self._links = frozenset(settings.links)
        self._units = units
        self._asker = asker
        self._clock = clock
        self._channel = Channel(settings.budget_a_min)
        self._views: dict[str, UnitView] = {}  # of the units in the schedule, by radio id
        self._asked: deque[float] = deque()
        self._look_mono = 0.0
        self.name = f"air time {settings.id}"
        self.passed_over = 0  # turns in which the radio had reported by itself, or was not reached

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            self.step()
            wait_s = self._channel.next_due() - self._clock.monotonic()
            await self._clock.sleep(min(max(wait_s, 0.001), IDLE_S))

    def step(self) -> None:
        """Look at the units where it is time, and ask one radio where one is due."""
        now_mono = self._clock.monotonic()
        if now_mono >= self._look_mono:
            self._look_mono = now_mono + LOOK_S
            self._look(now_mono)
        unit = self._channel.take(now_mono)
        if unit is not None:
            self._ask(RadioId(unit), now_mono)

    def view(self) -> ChannelView:
        """What is promised, and what was asked in the last minute."""
        self._forget_old(self._clock.monotonic())
        return ChannelView(
            channel=self._settings.id,
            budget_a_min=self._settings.budget_a_min,
            asked_last_min=len(self._asked),
            passed_over=self.passed_over,
            promises={
                kind.name.lower(): promise for kind, promise in self._channel.promises().items()
            },
        )

    def _look(self, now_mono: float) -> None:
        """The class of every unit of this channel, and those that have left it."""
        places = places_of(self._units.open_emergencies())
        present: dict[str, UnitView] = {}
        for view in self._units.units():
            if view.link_id not in self._links or not self._asker.can_locate(view.radio_id):
                continue
            kind = class_of(view, places, self._settings.near_m)
            if kind is not None:
                present[view.radio_id] = view
                self._channel.put(view.radio_id, kind, now_mono)
        for radio in self._views.keys() - present.keys():
            self._channel.remove(radio, now_mono)
        self._views = present

    def _ask(self, radio: RadioId, now_mono: float) -> None:
        if self._is_fresh(self._views[radio]) or not self._asker.locate(radio):
            self.passed_over += 1
            return
        self._asked.append(now_mono)
        self._forget_old(now_mono)

    def _is_fresh(self, view: UnitView) -> bool:
        interval_s = self._channel.interval_s(view.radio_id)
        if view.fix_received_at is None or interval_s is None:
            return False
        age_s = self._clock.now().seconds_since(view.fix_received_at)
        return 0 <= age_s < FRESH_SHARE * interval_s

    def _forget_old(self, now_mono: float) -> None:
        while self._asked and self._asked[0] <= now_mono - MINUTE_S:
            self._asked.popleft()
