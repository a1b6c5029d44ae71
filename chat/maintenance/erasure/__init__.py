"""Erase a user from every layer, keep a receipt, and repeat it on restored backups.

    ledger         what was requested, how far it is, and the receipts
    removal        one sweep: find and delete what there is of a user
    erasing        requests, attempts and receipts
    known          who was erased when, for imports, copies and restores
    after_restore  the ledger replayed on a restored database

An erasure is pending until a sweep has found nothing and every layer has confirmed.
"""
