"""Large texts: those of one interaction above `INLINE_MAX_BYTES`, each an object in the archive.

# Note [Large objects]

    large/<key>/<pseudonym of the user>/<version>

The object is written before the row that names it, under a name that is never used again; a row
gives way before its object does. So no row names what is not there, and a crash leaves at most
an object that no row names, which the nightly run finds (`chat.maintenance.large`). The name tells
nobody's id; those of the interaction and its user are in the object (`storage.large.packing`). The
row keeps the whole name, so a change of SECRET_KEY loses nothing.
"""
