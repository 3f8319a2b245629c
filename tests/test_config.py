"""session.toml: every error names key, value, and what is allowed."""

import pytest

from bci.config import SessionConfig, parse_config, read_config, to_toml
from bci.errors import ConfigError


def test_defaults_survive_the_round_trip():
    config = parse_config("[gate]\nthreshold = 0.7\n[stream]\nname = 'é \"x\"'\nmarkers = ['a', 'b']")
    assert parse_config(to_toml(config)) == config


def test_a_band_may_lack_an_edge():
    config = parse_config("[model]\nbandpass_hz = [8.0, '-']")
    assert config.model.bandpass_hz == (8.0, None)
    assert parse_config(to_toml(config)) == config


def test_a_flag_wins_over_the_file_and_none_does_not():
    config = parse_config("[stream]\nname = 'file'\nwait_s = 3.0", {"stream": {"name": "flag", "wait_s": None}})
    assert (config.stream.name, config.stream.wait_s) == ("flag", 3.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gate]\nfoo = 1", "unknown key gate.foo = 1; allowed in this section: threshold, release"),
        ("[nope]\na = 1", "unknown key nope = {'a': 1}; allowed in this section: stream, model"),
        ("[gate]\nthreshold = 2", "gate.threshold = 2: input should be less than 1"),
        ("[gate]\nthreshold = 0.5\nrelease = 0.6", "gate.release = 0.6 is above the threshold, 0.5"),
        ("stream = 3", "stream = 3: it is a section; write [stream] with name, type, source_id"),
        ("[model]\nreference = 'ear'", "model.reference = 'ear': input should be 'none', 'average', 'laplacian' or"),
        ("[model]\nbandpass_hz = ['low', 30]", "model.bandpass_hz.0 = 'low': input should be a valid number"),
        ("[stream]\nunit = 'kg'", "stream.unit = 'kg': input should be '', 'uV', 'mV', 'V' or 'T'"),
        ("[recording]\nsubject = '../x'", "recording.subject = '../x'"),
        ("x", "not TOML"),
    ],
)
def test_errors_say_key_value_and_what_is_allowed(text, message):
    with pytest.raises(ConfigError) as error:
        parse_config(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*No such file"):
        read_config(str(tmp_path / "none.toml"))


def test_nothing_changes_after_it_was_read():
    with pytest.raises(ValueError, match="frozen"):
        SessionConfig().gate.threshold = 0.1
