"""Backups: taken, verified, restored, damaged, cut short."""
