import socket
import sys
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bci.errors import RolandicError
from bci.host import channel as channel_module
from bci.host.channel import Channel, ChannelClosed, ChannelFull, spawn_child


class Text(msgspec.Struct):
    text: str


@pytest.fixture
def child_module(tmp_path, monkeypatch):
    """Write a module that a child process can be started with; returns its name."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(code):
        (tmp_path / "small_child.py").write_text(code)
        return "small_child"

    return write


# --- frames ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=50), max_size=8), st.data())
def test_messages_arrive_whole_and_in_order_however_the_bytes_are_cut(texts, data):
    left, right = socket.socketpair()
    with left, right:
        channel = Channel(left, Text)
        bodies = [msgspec.msgpack.encode(Text(t)) for t in texts]
        stream = b"".join(len(b).to_bytes(4, "little") + b for b in bodies)
        received, at = [], 0
        while at < len(stream):
            n = data.draw(st.integers(1, len(stream) - at))
            right.sendall(stream[at : at + n])
            received += channel.receive(5.0)
            at += n
        assert [m.text for m in received] == texts
        right.close()
        with pytest.raises(ChannelClosed):
            channel.receive(5.0)


def test_a_message_for_a_full_buffer_is_refused_and_the_others_arrive():
    left, right = socket.socketpair()
    with left, right:
        sender, receiver = Channel(left, Text, max_pending=1000), Channel(right, Text)
        sender.send(Text("a"))
        with pytest.raises(ChannelFull):
            sender.send(Text("x" * 1000))
        sender.send(Text("b"))
        assert sender.flush_all(5.0)
        assert [m.text for m in receiver.receive(5.0)] == ["a", "b"]


def test_waiting_for_a_slow_reader_is_bounded_as_a_whole(monkeypatch):
    """The reader takes a byte whenever 0.4 s have passed: no single wait is long, their sum would be."""
    clock = SimpleNamespace(now_s=0.0)

    class OneByte:
        takes = False

        def send(self, data):
            self.takes = not self.takes
            if not self.takes:
                raise BlockingIOError
            return 1

        def setblocking(self, _):
            pass

        def setsockopt(self, *_):
            pass

    def select(_read, write, _error, timeout_s):
        assert timeout_s > 0
        clock.now_s += min(0.4, timeout_s)
        return [], write, []

    channel = Channel(OneByte(), Text)
    channel.send(Text("x" * 100))
    monkeypatch.setattr(channel_module, "select", SimpleNamespace(select=select))
    monkeypatch.setattr(channel_module, "time", SimpleNamespace(monotonic=lambda: clock.now_s), raising=False)
    assert not channel.flush_all(1.0)
    assert clock.now_s == 1.0
    assert channel.flush_all(100.0)
    assert channel.n_pending == 0


# --- starting a child ------------------------------------------------------------------------------------------------


def test_a_child_gets_its_configuration_and_talks_back(child_module):
    name = child_module(
        "from bci.host.channel import connect_to_parent\n"
        "channel, config = connect_to_parent(dict)\n"
        "channel.send({'text': config['word']})\n"
        "channel.flush_all(10.0)\n"
    )
    child, channel = spawn_child(name, Text, {"word": "läuft"})
    assert channel.receive(20.0) == [Text("läuft")]
    assert child.wait(20.0) == 0
    channel.close()


@pytest.mark.parametrize("code", ["import nothing_of_this_name", "import sys; sys.stdin.close(); sys.exit(3)"])
def test_a_child_that_crashes_is_not_waited_for(child_module, code):
    with pytest.raises(RolandicError, match=r"process small_child did not start: it ended at once \(exit code [13]\)"):
        spawn_child(child_module(code), Text, timeout_s=60.0)


def test_a_child_that_never_connects_is_ended(child_module):
    name = child_module("import sys, time; sys.stdin.readline(); time.sleep(60)")
    with pytest.raises(RolandicError, match=r"it has not connected within 0\.3 s"):
        spawn_child(name, Text, timeout_s=0.3)


def test_a_system_that_starts_no_process_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "executable", sys.executable + "-that-is-not-there")
    with pytest.raises(RolandicError, match="process small_child did not start: ") as error:
        spawn_child("small_child", Text)
    assert "\n" not in str(error.value)


def test_a_system_without_free_sockets_is_one_line(monkeypatch):
    def refuse(_address):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(channel_module.socket, "create_server", refuse)
    with pytest.raises(RolandicError, match=r"did not start: .*Too many open files"):
        spawn_child("small_child", Text)
