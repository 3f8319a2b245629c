"""What each augmentation does to a batch, and to its labels."""

from __future__ import annotations

import pytest
import torch

from decoders.spec import DecoderSpec, SpecError
from decoders.training.augment import AUGMENTATIONS, BANDSTOP_HZ, chain

SPEC = DecoderSpec(
    name="eegnet", channels=("C3", "Cz", "C4", "FC1", "FC2"), sfreq_hz=100.0, hop=10, receptive_field=200,
    classes=("left", "right"),
)  # fmt: skip
Y = torch.arange(40) % 2


@pytest.fixture
def x():
    return torch.randn(40, 5, 200, generator=torch.Generator().manual_seed(0))


def augmented(name, x, y=Y, seed=1):
    return AUGMENTATIONS[name](x, y, SPEC, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_same_seed_gives_the_same_and_the_batch_stays_as_it_was(name, x):
    before, y_before = x.clone(), Y.clone()
    one, two = augmented(name, x), augmented(name, x)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0], x)
    assert not torch.equal(augmented(name, x, seed=2)[0], one[0])
    assert torch.equal(x, before)
    assert torch.equal(Y, y_before)
    assert one[0].shape == x.shape


def test_mirror_swaps_electrodes_over_the_midline_and_left_with_right(x):
    seen, y = augmented("mirror", x)
    swapped = y != Y
    assert 8 < swapped.sum() < 32
    assert torch.equal(seen[swapped], x[swapped][:, [2, 1, 0, 4, 3]])
    assert torch.equal(seen[~swapped], x[~swapped])
    soft = torch.eye(2)[Y]
    assert torch.equal(augmented("mirror", x, soft)[1], torch.eye(2)[y])


def test_shift_moves_a_trial_in_time_and_no_more_than_it_may(x):
    seen, y = augmented("shift", x)
    moves = set()
    for before, after in zip(x, seen, strict=True):
        (moved,) = [k for k in range(-20, 21) if torch.equal(after[:, 20:-20], before[:, 20 + k : 180 + k])]
        moves.add(moved)
    assert min(moves) < -10
    assert max(moves) > 10
    assert torch.equal(y, Y)


def test_dropout_silences_channels_and_scales_the_others(x):
    ratio = augmented("dropout", x)[0] / x
    assert set(ratio.unique().tolist()) <= {0.0, *(ratio[ratio != 0].unique().tolist())}
    silent = (ratio == 0).all(dim=2)
    assert 0.04 < silent.float().mean() < 0.2
    assert torch.allclose(ratio[~silent], torch.tensor(1 / 0.9))


def test_gain_is_one_factor_a_channel_and_trial(x):
    ratio = augmented("gain", x)[0] / x
    assert torch.allclose(ratio, ratio[:, :, :1].expand_as(ratio), rtol=1e-3)
    assert ratio[:, :, 0].std() == pytest.approx(0.1, rel=0.2)


def test_noise_is_in_proportion_to_each_channel(x):
    loud = x * torch.tensor([1.0, 10, 1, 1, 100])[:, None]
    added = augmented("noise", loud)[0] - loud
    assert added.std(dim=(0, 2)).tolist() == pytest.approx([0.2, 2, 0.2, 0.2, 20], rel=0.1)


def test_surrogates_keep_power_and_what_channels_share(x):
    seen, _ = augmented("surrogate", x)
    before, after = torch.fft.rfft(x), torch.fft.rfft(seen)
    assert torch.allclose(before.abs(), after.abs(), atol=1e-3)
    assert torch.allclose(x @ x.mT, seen @ seen.mT, atol=1e-2)
    assert torch.nn.functional.cosine_similarity(x[:, 0], seen[:, 0]).abs().mean() < 0.2


def test_mixup_mixes_trials_and_labels_alike(x):
    x = x * 0 + Y[:, None, None]  # each trial shows its label
    seen, y = augmented("mixup", x)
    assert torch.allclose(seen[:, 0, 0], y[:, 1])
    assert torch.allclose(y.sum(dim=1), torch.ones(40))
    assert ((y > 0.05) & (y < 0.95)).any()


def test_bandstop_takes_one_band_out_of_each_trial(x):
    seen = torch.fft.rfft(augmented("bandstop", x)[0]).abs() < 1e-3
    resolution_hz = 0.5
    assert ((seen.sum(dim=2) * resolution_hz - BANDSTOP_HZ).abs() <= 2 * resolution_hz).all()
    assert (seen == seen[:, :1]).all()


def test_a_chain_applies_what_it_names(x):
    generator = torch.Generator().manual_seed(1)
    seen, _ = chain(("dropout", "gain"), SPEC)(x, Y, SPEC, generator)
    generator.manual_seed(1)
    wanted = AUGMENTATIONS["dropout"](AUGMENTATIONS["gain"](x, Y, SPEC, generator)[0], Y, SPEC, generator)[0]
    assert torch.equal(seen, wanted)
    assert chain((), SPEC)(x, Y, SPEC, generator)[0] is x
    with pytest.raises(SpecError, match=r"no augmentation warp; there are mirror, shift"):
        chain(("warp",), SPEC)
