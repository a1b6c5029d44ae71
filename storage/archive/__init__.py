"""The archive: cold interactions in files, a few hundred to a file, in a folder or an S3 bucket.

# Note [Files of the archive]

    2026-10-23/<id>.json                             a segment: its manifest
    2026-10-23/<id>-<generation>.<head>.jsonl.zst    its rows, by user, as lines of JSON
    pending/2026-10-23.<id>.<token>                  a marker: some of its rows may not count

The head says how many rows there are, from when to when, and of which range of users
(`storage.archive.heads`), so a list of the day's files tells which of them to open. Segments of
earlier versions have no head, and their rows are sorted by time; they are read, and rewritten as
they are.

A segment has rows that were created on one day (UTC). It is written, and rewritten, in three steps:
the rows go to a file with a new name; the manifest, which names that file, is replaced in one step;
the file that the manifest named before is deleted. So a reader finds all of the old rows or all of
the new ones, and a crash leaves at most a file that no manifest names.
"""
