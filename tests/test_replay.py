"""What `bci replay --verify` must see: one bit, one command, one hop too few or too many."""

import numpy as np
import pytest

from bci.recording.replay import RecordedSession, compare, hop_row
from bci.types import Command, Control, Numbered, Prediction

N = 50


def prediction(hop, p=(0.25, 0.75), age_s=0.01):
    return Prediction(hop, 25 * hop, hop * 0.1, p, 0, "hash", age_s)


def command(hop):
    return Command(hop, "left", 0.75, hop * 0.1, 300.0, 1, hop)


OUTPUTS = [x for hop in range(N) for x in ([prediction(hop)] + [command(hop)] * (hop % 10 == 5))]


def recorded(outputs=OUTPUTS, is_complete=True):
    hops = [hop_row(h) for h in outputs if isinstance(h, Prediction)]
    events = (Numbered(0, Control("end" if is_complete else "note")),)
    commands = tuple(o for o in outputs if isinstance(o, Command))
    return RecordedSession({}, (), events, np.array(hops).reshape(-1, 9), commands, ())


def without(item):
    return [o for o in OUTPUTS if o != item]


def test_the_same_is_no_difference():
    result = compare(recorded(), OUTPUTS, bits=True)
    assert (result.n_differences, result.bitwise, result.n_predictions, result.n_commands) == (0, True, N, 5)


def test_one_bit_is_found_at_its_hop_and_is_within_the_tolerance_elsewhere():
    changed = [prediction(7, (0.25, float(np.nextafter(0.75, 1)))) if o == prediction(7) else o for o in OUTPUTS]
    result = compare(recorded(), changed, bits=True)
    assert (result.n_differences, result.bitwise) == (1, False)
    assert (result.first_difference["kind"], result.first_difference["index"]) == ("prediction", 7)
    assert compare(recorded(), changed, bits=False).n_differences == 0


def test_no_output_at_all_is_a_difference():
    result = compare(recorded(), [], bits=True)
    assert result.n_differences > 0
    assert not result.bitwise


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_recorded_hop_that_replay_does_not_give_is_a_difference_always(is_complete):
    assert compare(recorded(is_complete=is_complete), without(prediction(N - 1)), bits=True).n_differences == 1


def test_a_tail_that_only_replay_has_is_a_difference_unless_a_crash_cut_the_file():
    cut = [o for o in OUTPUTS if not (isinstance(o, Prediction) and o.hop >= 48)]
    assert compare(recorded(cut), OUTPUTS, bits=True).n_differences == 1
    result = compare(recorded(cut, is_complete=False), OUTPUTS, bits=True)
    assert (result.n_differences, result.n_tail_replayed) == (0, 2)


def test_a_command_missing_or_added_or_changed_is_a_difference():
    assert compare(recorded(), without(command(25)), bits=True).n_differences > 0
    assert compare(recorded(without(command(45))), OUTPUTS, bits=True).first_difference["index"] == 4
    other = [Command(*(*_fields(o)[:-1], o.hop + 1)) if o == command(15) else o for o in OUTPUTS]
    assert compare(recorded(), other, bits=True).first_difference["kind"] == "command"


def _fields(record):
    return [getattr(record, name) for name in record.__struct_fields__]
