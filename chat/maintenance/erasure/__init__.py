"""Erase a user from every layer, keep a receipt, and repeat it on restored backups."""
