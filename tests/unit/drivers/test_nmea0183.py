"""What the battery does not ask of the NMEA 0183 driver: dates, epochs, bounds and the device."""

from collections.abc import Sequence
from typing import Any

import pytest

from drivers.api import Moment, Output, Reject, Report
from drivers.nmea.epochs import nearest, unrolled
from drivers.nmea0183 import DRIVER, LONGEST_EPOCH_S, MAX_LINE, MAX_RECEIVERS, QUIET_S
from drivers.wire import xor8
from gateway.model.events import PositionFix
from gateway.model.quantities import Instant
from hil_tests.devices.nmea0183 import Nmea0183Device

AT = Instant.parse("2026-05-01T08:00:00Z")
NOW = Moment(100.0, AT)


def nmea(body: str, end: bytes = b"\r\n") -> bytes:
    return b"$%s*%02X" % (body.encode(), xor8(body.encode())) + end


def tagged(source: str, body: str) -> bytes:
    tag = f"s:{source}".encode()
    return b"\\%s*%02X\\" % (tag, xor8(tag)) + nmea(body)


def rmc(time: str, date: str = "010526", lat: str = "3014.5678") -> str:
    return f"GNRMC,{time},A,{lat},N,12009.8765,E,1.2,87.0,{date},,,A,V"


def gga(time: str) -> str:
    return f"GNGGA,{time},3014.5678,N,12009.8765,E,1,14,0.8,12.3,M,8.1,M,,"


def later(seconds: float) -> Moment:
    return Moment(NOW.mono + seconds, Instant(NOW.at + round(seconds * 1e9)))


def fixes(outputs: Sequence[Output]) -> list[PositionFix]:
    reports = [output for output in outputs if isinstance(output, Report)]
    assert all(isinstance(report.event, PositionFix) for report in reports)
    return [report.event for report in reports if isinstance(report.event, PositionFix)]


def reasons(outputs: Sequence[Output]) -> list[str]:
    return [output.reason for output in outputs if isinstance(output, Reject)]


def read(data: bytes, **options: Any) -> list[Output]:
    codec = DRIVER.new_codec(options, "link-1")
    return [*codec.receive(data, NOW), *codec.flush(NOW)]


def test_an_epoch_waits_for_the_rest_of_its_sentences_and_no_longer() -> None:
    codec = DRIVER.new_codec({}, "link-1")
    assert codec.next_deadline() is None
    assert not codec.receive(nmea(rmc("080000")), NOW)
    assert codec.next_deadline() == NOW.mono + QUIET_S
    assert not codec.expire(later(QUIET_S / 2))
    assert not codec.receive(nmea(gga("080000")), later(0.2))
    assert codec.next_deadline() == pytest.approx(NOW.mono + 0.2 + QUIET_S)
    (fix,) = fixes(codec.expire(later(0.2 + QUIET_S)))
    assert (fix.altitude_m, fix.course_deg) == (12.3, 87.0)
    assert codec.next_deadline() is None


def test_a_line_that_never_falls_silent_cannot_hold_an_epoch_back() -> None:
    codec = DRIVER.new_codec({}, "link-1")
    codec.receive(nmea(rmc("080000")), NOW)
    for tenth in range(1, 15):
        codec.receive(nmea("GPHDT,274.07,T"), later(tenth / 10))
    assert codec.next_deadline() == NOW.mono + LONGEST_EPOCH_S
    assert len(fixes(codec.expire(later(LONGEST_EPOCH_S)))) == 1


def test_the_same_report_has_the_same_mark_and_another_place_another() -> None:
    first, again, other = (
        [output for output in read(nmea(body)) if isinstance(output, Report)]
        for body in (rmc("080000"), rmc("080000"), rmc("080000", lat="3014.5680"))
    )
    assert first[0].same_as == again[0].same_as
    assert first[0].same_as != other[0].same_as


def test_a_report_without_a_time_has_no_mark() -> None:
    (report,) = read(nmea("GPGLL,,,,,,V,N"))
    assert isinstance(report, Report)
    assert report.same_as is None


@pytest.mark.parametrize(
    ("known", "passed_s", "time", "expected"),
    [
        ("235959", 1, "000000", "2026-05-02T00:00:00Z"),
        ("000001", 1, "235959.5", "2026-04-30T23:59:59.5Z"),
        ("120000", 86_400 * 3, "120000", "2026-05-04T12:00:00Z"),
    ],
)
def test_the_date_goes_on_from_the_last_known_one(
    known: str, passed_s: float, time: str, expected: str
) -> None:
    codec = DRIVER.new_codec({}, "link-1")
    codec.receive(nmea(rmc(known)), NOW)
    codec.flush(NOW)
    codec.receive(nmea(gga(time)), later(passed_s))
    (fix,) = fixes(codec.flush(later(passed_s)))
    assert fix.fix_at == Instant.parse(expected)


def test_a_known_date_is_not_moved_by_a_wrong_wall_clock() -> None:
    codec = DRIVER.new_codec({}, "link-1")
    codec.receive(nmea(rmc("080000", date="010520")), NOW)
    codec.receive(nmea(gga("080001")), later(1))
    (fix,) = fixes(codec.flush(later(1)))
    assert fix.fix_at == Instant.parse("2020-05-01T08:00:01Z")


@pytest.mark.parametrize(
    ("time", "to", "expected"),
    [
        ("23:59:59", "2026-05-01T00:00:01Z", "2026-04-30T23:59:59Z"),
        ("00:00:01", "2026-04-30T23:59:59Z", "2026-05-01T00:00:01Z"),
        ("12:00:00", "2026-05-01T00:00:00Z", "2026-05-01T12:00:00Z"),
        ("08:00:00", "2026-05-01T08:00:00Z", "2026-05-01T08:00:00Z"),
    ],
)
def test_the_nearest_day_is_taken(time: str, to: str, expected: str) -> None:
    time_ns = Instant.parse(f"1970-01-01T{time}Z")
    assert nearest(time_ns, Instant.parse(to)) == Instant.parse(expected)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2006-09-15T08:00:00Z", "2026-05-01T08:00:00Z"),  # one turn of 1024 weeks
        ("1987-01-30T08:00:00Z", "2026-05-01T08:00:00Z"),  # two
        ("2006-09-13T07:00:00Z", "2006-09-13T07:00:00Z"),  # two days off: it is simply old
        ("2026-04-30T08:00:00Z", "2026-04-30T08:00:00Z"),
        ("2045-12-15T08:00:00Z", "2045-12-15T08:00:00Z"),  # never moved back
    ],
)
def test_lost_weeks_are_put_back_only_where_that_fits(said: str, meant: str) -> None:
    assert unrolled(Instant.parse(said), AT) == Instant.parse(meant)


def test_a_source_beyond_the_bound_pushes_the_oldest_out_with_its_fix() -> None:
    codec = DRIVER.new_codec({}, "link-1")
    for number in range(MAX_RECEIVERS):
        assert not codec.receive(tagged(f"r{number}", rmc("080000")), NOW)
    (pushed,) = fixes(codec.receive(tagged("one-more", rmc("080000")), NOW))
    assert pushed.radio_id == "receiver:r0"
    assert len(fixes(codec.flush(NOW))) == MAX_RECEIVERS


def test_unchecked_receivers_of_one_line_with_unsafe_names_are_not_merged() -> None:
    outputs = read(tagged("gps 1", rmc("080000")) + tagged("gps 2", rmc("080000", lat="3015.0000")))
    assert [fix.lat_deg for fix in fixes(outputs)] == pytest.approx([30.24279667, 30.25])


def test_a_later_line_of_a_group_whose_first_was_missed_belongs_to_nobody() -> None:
    tag = b"g:2-2-45"
    data = b"\\%s*%02X\\" % (tag, xor8(tag)) + nmea(gga("080000"))
    assert reasons(read(data)) == ["tag_block"]


def test_the_first_line_of_a_group_without_a_source_is_the_links_own() -> None:
    first, second = b"g:1-2-45", b"g:2-2-45"
    data = b"\\%s*%02X\\" % (first, xor8(first)) + nmea(rmc("080000"))
    data += b"\\%s*%02X\\" % (second, xor8(second)) + nmea(gga("080000"))
    (fix,) = fixes(read(data))
    assert (fix.radio_id, fix.altitude_m) == ("receiver:link-1", 12.3)


def test_a_sentence_of_a_thousand_bytes_is_read() -> None:
    body = rmc("080000") + "," * (MAX_LINE - 200)
    assert len(fixes(read(nmea(body)))) == 1


@pytest.mark.parametrize("chunk", [1, 100, 5000])
def test_an_endless_line_is_cut_and_said_once(chunk: int) -> None:
    data = b"x" * 5000 + b"$" + b"\r\n" + nmea(rmc("080000"))
    codec = DRIVER.new_codec({}, "link-1")
    outputs: list[Output] = []
    for start in range(0, len(data), chunk):
        outputs += codec.receive(data[start : start + chunk], NOW)
    outputs += codec.flush(NOW)
    assert reasons(outputs) == ["overrun", "unfinished"]
    assert len(fixes(outputs)) == 1


def test_an_endless_line_that_is_given_up_is_said_too() -> None:
    assert reasons(read(b"x" * 5000)) == ["overrun", "noise"]


def test_a_carriage_return_alone_ends_a_sentence() -> None:
    codec = DRIVER.new_codec({}, "link-1")
    assert not codec.receive(nmea(rmc("080000"), end=b"\r"), NOW)
    assert len(fixes(codec.receive(nmea(rmc("080001"), end=b"\r"), NOW))) == 1


@pytest.mark.parametrize(
    "body",
    [
        "GPGLL,3014.5678,X,12009.8765,E,080000,A,A",  # no such side
        "GPGLL,3014.5678,,12009.8765,E,080000,A,A",  # no side at all
        "GPGLL,3060.0000,N,12009.8765,E,080000,A,A",  # sixty minutes
        "GPGLL,3014.5678,N,18000.0001,E,080000,A,A",  # beyond the date line
        "GPGLL,3014.56e8,N,12009.8765,E,080000,A,A",  # Python would read it
        "GPGLL,-014.5678,N,12009.8765,E,080000,A,A",  # the side is the sign
        "GPGLL,3014.5678,N,12009.8765,E,240000,A,A",
        "GPGLL,3014.5678,N,12009.8765,E,086000,A,A",
        "GPGLL,3014.5678,N,12009.8765,E,080061,A,A",
        "GPGLL,3014.5678,N,12009.8765,E,08000,A,A",
        "GPGLL,3014.5678,N,12009.8765,E,080000.x,A,A",
        "GPGLL,3014.5678,N,12009.8765,E",
        "GPRMC,080000,A,3014.5678,N,12009.8765,E,nan,87.0,010526,,",
        "GPRMC,080000,A,3014.5678,N,12009.8765,E,-1.2,87.0,010526,,",
        "GPRMC,080000,A,3014.5678,N,12009.8765,E,1.2,361,010526,,",
        "GPGGA,080000,3014.5678,N,12009.8765,E,1,a,0.8,12.3,M,8.1,M,,",
        f"GPGGA,080000,3014.5678,N,12009.8765,E,1,14,0.8,{'1' * 30},M,8.1,M,,",
        "GPZDA,080000,32,05,2026,00,00",
        "GPGSV,,1,11,03,03,111,00",
        "GPGSV,3,1,11,03,03,1x1,00",
        "GNTXT,x,01,02,text",
    ],
)
def test_fields_that_the_standard_does_not_allow_are_refused(body: str) -> None:
    assert reasons(read(nmea(body))) == ["fields"]


@pytest.mark.parametrize("body", ["GNTXT,free text", "GPZDA,080000,,,,,", "GPGSV,1,1,00"])
def test_short_forms_that_receivers_send_are_borne(body: str) -> None:
    assert read(nmea(body)) == []


def test_a_course_of_360_degrees_is_north() -> None:
    (fix,) = fixes(read(nmea("GPRMC,080000,A,3014.5678,N,12009.8765,E,1.2,360.0,010526,,")))
    assert fix.course_deg == 0.0


@pytest.mark.parametrize("date", ["", "000000", "310226", "2208-x", "01--10", "010"])
def test_a_date_that_no_calendar_has_is_no_date(date: str) -> None:
    (fix,) = fixes(read(nmea(rmc("075959", date=date))))
    assert fix.fix_at == Instant.parse("2026-05-01T07:59:59Z")


def test_speed_and_course_come_from_vtg_where_rmc_has_none() -> None:
    bare = "GNRMC,080000,A,3014.5678,N,12009.8765,E,,,010526,,,A,V"
    (in_knots,) = fixes(read(nmea(bare) + nmea("GNVTG,12.5,T,,M,2.0,N,3.7,K,A")))
    (in_kmh,) = fixes(read(nmea(bare) + nmea("GNVTG,,T,,M,,N,3.6,K,A")))
    (unknown,) = fixes(read(nmea(bare) + nmea("GNVTG,12.5,T,,M,2.0,N,3.7,K,N")))
    assert in_knots.speed_mps == pytest.approx(1.028889, 1e-6)
    assert in_knots.course_deg == 12.5
    assert in_kmh.speed_mps == pytest.approx(1.0)
    assert in_kmh.course_deg is None
    assert (unknown.speed_mps, unknown.course_deg) == (None, None)


def test_accuracy_needs_both_deviations() -> None:
    (fix,) = fixes(read(nmea(rmc("080000")) + nmea("GNGST,080000,11,,,,3.0,,1.1")))
    assert fix.accuracy_m is None


def test_hdop_comes_from_gsa_where_gga_has_none() -> None:
    data = nmea(rmc("080000")) + nmea("GNGSA,A,3,22,18,,,,,,,,,,,2.5,1.2,2.2")
    (fix,) = fixes(read(data))
    assert fix.hdop == 1.2


def test_a_single_system_fills_in_where_the_combined_talker_is_silent() -> None:
    void, good = (
        "GLGNS,080000,,,,,N,00,,,,,",
        "GPGNS,080000,3014.5678,N,12009.8765,E,A,07,1.0,5.0,,,",
    )
    for order in ([void, good], [good, void]):
        (fix,) = fixes(read(b"".join(map(nmea, order))))
        assert fix.fix_valid
        assert fix.satellites == 7


def test_a_combined_talker_that_comes_later_replaces_a_single_system() -> None:
    single = "GPGGA,080000,3014.5678,N,12009.8765,E,1,04,2.0,5.0,M,,M,,"
    (fix,) = fixes(read(nmea(single) + nmea(gga("080000"))))
    assert fix.satellites == 14


def test_a_valid_status_without_a_place_is_no_fix() -> None:
    (fix,) = fixes(read(nmea("GPRMC,080000,A,,,,,1.2,87.0,010526,,")))
    assert not fix.fix_valid


def test_nothing_is_sent_to_a_receiver() -> None:
    codec = DRIVER.new_codec({}, "link-1")
    codec.receive(nmea(rmc("080000")), NOW)
    codec.accept(1)
    assert not codec.outgoing()


# --- the emulated receiver ------------------------------------------------------------------------


def played(device: Nmea0183Device, seconds: int, start: int = 0) -> list[PositionFix]:
    codec = DRIVER.new_codec({}, "link-1")
    outputs: list[Output] = []
    for tenth in range(start * 10, (start + seconds) * 10):
        moment = later(tenth / 10)
        device.tick(moment)
        for sentence in device.outgoing():
            outputs += codec.receive(sentence, moment)
    outputs += codec.flush(later(start + seconds))
    assert not reasons(outputs)
    return fixes(outputs)


@pytest.mark.parametrize("talker", ["GN", "BD", "GP"])
@pytest.mark.parametrize(("lat_deg", "lon_deg"), [(22.94321, 113.73651), (-33.5, -0.00001)])
def test_the_emulated_receivers_place_comes_back(
    talker: str, lat_deg: float, lon_deg: float
) -> None:
    device = Nmea0183Device(talker=talker)
    device.move(lat_deg, lon_deg, speed_mps=1.4, course_deg=271.0)
    got = played(device, 3)
    assert [fix.fix_at for fix in got] == [later(second).at for second in range(3)]
    for fix in got:
        assert fix.fix_valid
        assert (fix.lat_deg, fix.lon_deg) == pytest.approx((lat_deg, lon_deg), abs=1e-7)
        assert fix.speed_mps == pytest.approx(1.4, abs=1e-3)
        assert fix.course_deg == 271.0
        assert (fix.satellites, fix.hdop, fix.altitude_m) == (6, 0.9, 12.3)


def test_the_emulated_receiver_says_when_it_sees_nothing_and_when_it_sees_again() -> None:
    device = Nmea0183Device()
    assert [fix.fix_valid for fix in played(device, 1)] == [False]
    device.move(22.9, 113.7, speed_mps=0.0, course_deg=0.0)
    assert [fix.fix_valid for fix in played(device, 2, start=1)] == [True, True]
    device.lose_fix()
    assert [fix.fix_valid for fix in played(device, 1, start=3)] == [False]


def test_the_emulated_receiver_makes_up_for_nothing_after_a_pause() -> None:
    device = Nmea0183Device()
    assert len(played(device, 1)) == 1
    assert len(played(device, 1, start=60)) == 1


def test_the_emulated_receiver_has_no_button() -> None:
    device = Nmea0183Device()
    with pytest.raises(NotImplementedError, match="no button"):
        device.press()
    device.release()
    assert not device.is_press_acknowledged
