"""Erase a user from every layer, keep a receipt, and repeat it on restored backups.

    ledger         what was requested, how far it is, and the receipts
    removal        one sweep: find and delete what there is of users
    attempt        sweeps until nothing is found, and the receipts
    scrubbing      no byte of them is left in the files of the databases
    erasing        requests, and runs of attempts and scrubbing
    receipts       what was erased, since when, and where there are copies
    known          who was erased when, for imports, copies and restores
    after_restore  the ledger replayed on a restored database

An erasure is pending until a sweep has found nothing and every layer has confirmed; it is done
when the files are scrubbed, too.
"""
