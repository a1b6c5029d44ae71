"""What is no error is not in bold red on a terminal."""

import io

import pytest
from django.core.management import call_command

from chat.management.commands import create_api_key, export_interactions


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("module", "arguments", "says"),
    [
        (create_api_key, ["billing"], "Keep the key now"),
        (export_interactions, ["-"], "0 exported."),
    ],
)
def test_success_is_said_in_no_colour_of_errors(storage, module, arguments, says, capsysbinary):
    errors = Terminal()
    command = module.Command(stdout=io.StringIO(), stderr=errors, force_color=True)
    command.stderr.style_func = command.style.ERROR  # as for a terminal
    call_command(command, *arguments)
    assert says in errors.getvalue()
    assert "\x1b" not in errors.getvalue()
