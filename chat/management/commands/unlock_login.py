"""`manage.py unlock_login ACCOUNT [ADDRESS]`: lift a lock-out of the admin's login."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from chat.admin import login, second_factor
from chat.api.addresses import address_of
from storage.startup.rate_limits import lockouts


class Command(BaseCommand):
    """Forgets wrong codes, and wrong passwords on this machine.

    The account and the address are in the line of the log about the lock.
    """

    help = "Lift a lock-out of the admin's login: of an account, and of an address."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("account", help="the user name")
        parser.add_argument("address", nargs="?", help="where the wrong passwords came from")

    def handle(self, *args: Any, **options: Any) -> None:
        account, address = options["account"], options["address"]
        lockouts().forget(login.account_digest(account))
        lockouts().lift(login.browsers_digest(account))
        if address:
            address = address_of({"REMOTE_ADDR": address.partition("/")[0]})
            lockouts().forget(login.pair_digest(account, address))
            lockouts().forget(login.address_digest(address))
        second_factor.end_rest(account)
        where = f" and {address}" if address else ""
        self.stdout.write(f"Wrong passwords of {account}{where} are forgotten.")
