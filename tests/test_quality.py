"""Flat and saturated channels are found; noise, coarse steps and tones are not."""

import numpy as np

from bci.signal.quality import ChannelQuality


def judge(x, sfreq_hz=250, block=5):
    quality = ChannelQuality(len(x), sfreq_hz, block, flat=0.1)
    for i in range(0, x.shape[1] - block + 1, block):
        quality.step(x[:, i : i + block].astype(np.float32))
    return quality


def test_flat_railed_and_good_channels_are_told_apart():
    rng = np.random.default_rng(0)
    t = np.arange(750) / 250
    noise = rng.standard_normal((8, 750)) * 20
    noise[0] = 17.0  # flat
    noise[1] = np.clip(noise[1] * 100, -1000, 999.5)  # at both rails
    noise[2] = np.where(t % 1 < 0.15, 1000, np.clip(noise[2], -50, 990))  # at the upper rail for 15 % of the time
    noise[3] = np.round(noise[3])  # coarse steps
    noise[4] = 50 * np.sin(2 * np.pi * 50 * t)  # a tone that repeats exactly
    noise[5] = 30000 + 0.0005 * noise[5]  # quieter than any amplifier, under an offset
    noise[6] = np.linspace(0, 500, 750)  # drift
    quality = judge(noise)
    assert quality.is_bad.tolist() == [True, True, True, False, False, True, False, False]
    assert quality.any_bad


def test_no_channel_is_bad_before_a_second_has_passed_and_it_recovers():
    quality = ChannelQuality(1, 250, 5, flat=0.1)
    flat, rng = np.zeros((1, 5), np.float32), np.random.default_rng(0)
    seen = [quality.step(flat) for _ in range(50)]
    assert seen == [False] * 49 + [True]
    seen = [quality.step(rng.standard_normal((1, 5)).astype(np.float32)) for _ in range(60)]
    assert seen[0]
    assert not seen[-1]
    quality.step(flat)
    quality.start()
    assert not quality.any_bad
