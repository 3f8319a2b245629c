import os

import pytest

from tests.helpers.fault_sender import fitted_model
from tests.helpers.live import session


def pytest_collection_modifyitems(items):
    """Signals of POSIX bring these faults about; each takes a few seconds, and longer on a busy machine."""
    for item in items:
        if "faults" in item.path.parts:
            item.add_marker(pytest.mark.timeout(240))
            item.add_marker(pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"))


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Hears the commands of the sender."""
    return fitted_model(tmp_path_factory.mktemp("faults") / "model")


@pytest.fixture
def live(model, unique_name, tmp_path):
    """A session that was armed and has commanded."""
    with session(model, unique_name, tmp_path, "--arm") as running:
        running.wait_for_commands(5)
        yield running
