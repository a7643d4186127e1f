"""Output streams that keep head and tail, and that others may read too."""

import os

from sandbox.guest.output import Stream


def test_the_head_and_the_tail_are_kept() -> None:
    stream = Stream(8)
    for part in (b"abc", b"defg", b"hijklm"):
        stream.add(part)
    assert stream.value() == b"abcd\n[... 5 bytes left out ...]\njklm"
    assert (stream.total, stream.left_out) == (13, 5)


def test_an_empty_pipe_is_neither_waited_for_nor_at_its_end() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    stream = Stream(8)
    assert stream.read(read)
    os.write(write, b"x")
    assert stream.read(read)
    stream.drain(read)
    os.close(write)
    assert not stream.read(read)
    assert stream.value() == b"x"
    os.close(read)


def test_draining_an_endless_output_ends() -> None:
    fd = os.open("/dev/zero", os.O_RDONLY)
    stream = Stream(8)
    stream.drain(fd)
    assert stream.total == 64 << 16
    os.close(fd)
