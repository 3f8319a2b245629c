"""Signal quality of a whole recording: known signals, in whatever pieces they come."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.signal.quality import ChannelQuality
from bci.signal.survey import Survey, is_flat, is_stuck

SFREQ_HZ = 250.0
FLAT = np.full(6, 0.1, np.float32)


def signals(seconds=8, mains_hz=60.0):
    """Noise of 10 µV; with 5 µV RMS of hum; flat; on its rail for a fifth of each second; NaN now and then; larger."""
    rng = np.random.default_rng(1)
    n = int(seconds * SFREQ_HZ)
    t_s = np.arange(n) / SFREQ_HZ
    x = rng.normal(0, 10, (n, 6))
    x[:, 1] += 5 * np.sqrt(2) * np.sin(2 * np.pi * mains_hz * t_s + 0.3)
    x[:, 2] = 7.0
    x[:, 3] = np.where(t_s % 1 < 0.2, 200.0, np.clip(x[:, 3], -90, 190))
    x[::500, 4] = np.nan
    x[:, 5] *= 20
    return x.astype(np.float32)


def surveyed(x, cuts=(), **options):
    survey = Survey(x.shape[1], SFREQ_HZ, FLAT, **options)
    for part in np.split(x, cuts):
        survey.take(part)
    return survey


@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
def test_every_kind_of_channel_is_described(mains_hz):
    survey = surveyed(signals(mains_hz=mains_hz))
    assert survey.n_seconds == 8
    assert survey.amplitude()[[0, 5]] == pytest.approx([10, 200], rel=0.1)
    assert survey.share_flat().tolist() == [0, 0, 1, 0, 0, 0]
    assert survey.share_stuck().tolist() == [0, 0, 0, 1, 0, 0]
    assert survey.share_missing().tolist() == [0, 0, 0, 0, 0.5, 0]
    found_hz, hum = survey.line()
    assert found_hz == mains_hz
    assert hum[1] == pytest.approx(5, rel=0.15)
    assert hum[0] < 2


@given(st.lists(st.integers(0, 2000), max_size=12).map(sorted))
@settings(max_examples=25)
def test_pieces_do_not_matter(cuts):
    whole, pieces = surveyed(signals()), surveyed(signals(), cuts)
    assert pieces.n_seconds == whole.n_seconds
    assert np.array_equal(pieces.amplitude(), whole.amplitude(), equal_nan=True)
    assert np.array_equal(pieces.line()[1], whole.line()[1], equal_nan=True)
    assert np.array_equal(pieces.share_stuck(), whole.share_stuck())


def test_a_stride_looks_at_some_seconds_only():
    assert surveyed(signals(9), stride=4).n_seconds == 3


def test_a_slow_stream_shows_no_mains():
    survey = Survey(1, 100.0, FLAT[:1])
    survey.take(np.random.default_rng(0).normal(0, 1, (300, 1)))
    assert survey.line() is None
    assert survey.amplitude()[0] == pytest.approx(1, rel=0.2)


def test_less_than_a_second_is_nothing():
    assert surveyed(signals()[:249]).n_seconds == 0


def test_a_channel_without_a_number_has_no_amplitude():
    survey = surveyed(np.full((500, 6), np.nan, np.float32))
    assert np.isnan(survey.amplitude()).all()
    assert survey.share_missing().tolist() == [1] * 6


def test_the_live_path_judges_a_second_alike():
    """`ChannelQuality` after one second, against the rules here on that second."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        x = rng.normal(0, 10, (4, 250))
        x[1] = np.where(rng.random(250) < rng.random() * 0.4, 50.0, np.minimum(x[1], 49.0))
        x[2] = rng.choice([0.0, 1e-3]) * x[2]
        x[3] = np.round(x[3])
        x = x.astype(np.float32)
        live = ChannelQuality(4, 250.0, 25, flat=0.1)
        for k in range(0, 250, 25):
            live.step(x[:, k : k + 25])
        flat = is_flat(x, FLAT[:4])
        n_rests = max((np.diff(x[1]) == 0)[x[1, 1:] == 50.0].sum(), 0)
        if abs(n_rests - 25) > 3:  # pairs across the live path's tenths of a second count only here
            assert live.is_bad.tolist() == (flat | is_stuck(x)).tolist()
