"""What several emulated devices have in common: a place to stand at, or no button to press."""

from gateway.model.events import EmergencyKind


class HasPlace:
    """Stands at a place, or sees no satellites."""

    _place: tuple[float, float] | None = None
    _speed_mps = 0.0
    _course_deg = 0.0

    def move(self, lat_deg: float, lon_deg: float, *, speed_mps: float, course_deg: float) -> None:
        """Stand at a place (WGS-84), moving so."""
        self._place = (lat_deg, lon_deg)
        self._speed_mps, self._course_deg = speed_mps, course_deg

    def lose_fix(self) -> None:
        """See no satellites until the next ``move``."""
        self._place = None


class HasNoPlace:
    """Reports no places: they go another way, if any."""

    def move(self, lat_deg: float, lon_deg: float, *, speed_mps: float, course_deg: float) -> None:
        """Nobody is told."""

    def lose_fix(self) -> None:
        """Nobody is told."""


class HasNoButton:
    """Tells no emergency; ``no_button`` says why, so that no scenario relies on one."""

    no_button: str

    def press(self, kind: EmergencyKind = "alarm") -> None:
        """Refuse with ``NotImplementedError``."""
        raise NotImplementedError(f"{self.no_button} ({kind})")

    def release(self) -> None:
        """Nothing was pressed."""

    @property
    def is_press_acknowledged(self) -> bool:
        """Never: there is no button."""
        return False
