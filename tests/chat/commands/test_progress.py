"""How commands show that they get on."""

import os
import select
import sys

from chat import progress


def everything(terminal):
    """What has been written to a terminal."""
    shown = b""
    while select.select([terminal], [], [], 0)[0]:
        shown += os.read(terminal, 65536)
    return shown.decode()


def test_a_terminal_shows_a_bar(monkeypatch):
    ours, theirs = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    # Set here and not in a fixture, because pytest changes it again before the test.
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w") as screen, monkeypatch.context() as context:
        context.setattr(sys, "stderr", screen)
        with progress.progress("importing") as report:
            report(1500, 0.5)
        shown = everything(ours)
    assert "importing 1,500" in shown
    assert "━" in shown


def test_anything_else_gets_plain_lines(capfd, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_LINE_SECONDS", 0)
    with progress.progress("importing") as report:
        report(500, 0.25)
        report(1000)
    captured = capfd.readouterr()
    assert captured.err == "importing 500 (25%)\nimporting 1000\n"
    assert captured.out == ""


def test_plain_lines_come_seldom(capfd):
    with progress.progress("importing") as report:
        for done in range(1000):
            report(done)
    assert capfd.readouterr().err == ""
