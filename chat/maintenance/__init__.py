"""What the maintenance commands do: move to the archive, restore, purge, erase, export, migrate.

Each is a function of a storage, a policy and a run. It works in small steps, and may be
killed between any two of them: the next run first completes what an interrupted one left.
"""
