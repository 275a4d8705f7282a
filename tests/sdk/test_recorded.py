from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.sdk import InputError
from cutpoint.sdk.testing import load_trace


def test_mahimahi_lines_are_packets(tmp_path: Path) -> None:
    path = tmp_path / "x.up"
    path.write_text("0\n0\n50\n250\n")
    trace = load_trace(path)
    assert trace.step == 0.1
    assert trace.rates == pytest.approx((3 * 12_000 / 0.1, 0.0, 12_000 / 0.1))


def test_samples_have_a_time_and_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("1.0\t48.0\n2.0\t61.5\n\n3.0\t0\n")
    trace = load_trace(path)
    assert trace.step == 1.0
    assert trace.rates == (48e6, 61.5e6, 0.0)
    table = tmp_path / "x.csv"
    table.write_text("5.0,a,b,c,d,e,30.5,z\n6.0,a,b,c,d,e,42,z\n")
    assert load_trace(table).rates == (30.5e6, 42e6)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.up", "a\n"),
        ("x.up", ""),
        ("x.csv", "1,2\n2,3\n"),
        ("x.txt", "1 2\n"),
        ("x.txt", "2 1\n1 1\n"),
        ("x.up", "-4\n"),
    ],
)
def test_files_of_another_form_are_named(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=name):
        load_trace(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_trace(tmp_path / "nothing")


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=200))
def test_no_packet_is_lost(times: list[int]) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.up"
        path.write_text("\n".join(map(str, sorted(times))))
        trace = load_trace(path)
        assert sum(trace.rates) * trace.step == pytest.approx(len(times) * 12_000)


@pytest.mark.shared_data
def test_recorded_traces_have_the_means_they_are_known_for(shared_data: Path) -> None:
    means = {
        "ATT-LTE-driving.up": 0.83,
        "ATT-LTE-driving-2016.up": 1.91,
        "Verizon-EVDO-driving.up": 0.84,
        "TMobile-LTE-short.up": 13.3,
        "5g-mmwave-uplink.csv": 32,
        "4g-walking-50093.txt": 7.6,
        "5g-driving-22.txt": 66,
        "5g-walking-116.txt": 385,
    }
    for name, mean in means.items():
        trace = load_trace(shared_data / "traces" / name)
        assert trace.mean / 1e6 == pytest.approx(mean, rel=0.03), name
