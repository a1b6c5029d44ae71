"""What the maintenance commands do: archive, restore, purge, erase, export and migrate.

Data is destroyed only when it may be. An interaction is deleted only if it is past the retention
cutoff and under no legal hold, or if its user is erased; until then it is in exactly one tier, hot
(a row of the database) or cold (a row in a segment of the archive). What decides is the database:
a row of a segment counts if and only if there is a stub of its id that names this segment. So a
tier transition is one step of the database, in which a row is replaced by a stub or a stub by a
row, and whatever else lies in the archive is a leftover that nobody reads.

So a run may be killed between any two steps. Before it changes anything of a segment, it marks it.
When it archives, it writes the rows, then the manifest (without which the rows do not exist), and
then the stubs; when it restores or erases, the stubs change first. At last it compacts the segment,
which removes the rows without a stub, and then the mark. Every run begins by completing what
interrupted ones have left: it compacts the segments that are still marked.

One run at a time works on a database. It holds a lock, which a thread renews, and stops at the next
step if it has lost it. A damaged file stops nothing but what needs that file: the damage is
collected, everything else is done, and then the run fails and names each damaged file.

Each run is a function of a storage, a policy (which ages are due), a run (lock, time limit, batch
size) and a report. It counts in the report as it goes, so that the counts survive a failure.
"""
