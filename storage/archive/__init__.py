"""The archive: cold interactions in files, a few thousand to a file, in a folder or an S3 bucket.

# Note [Files of the archive]

    2026-10-23/<id>.json                          a segment: its manifest
    2026-10-23/<id>-<generation>.jsonl.zst        its rows, oldest first, as lines of JSON
    pending/2026-10-23.<id>.<token>               a marker: some of its rows may not count

A segment has rows that were created on one day (UTC). It is written, and rewritten, in three steps:
the rows go to a file with a new name; the manifest, which names that file, is replaced in one step;
the file that the manifest named before is deleted. So a reader finds all of the old rows or all of
the new ones, and a crash leaves at most a file that no manifest names.
"""
