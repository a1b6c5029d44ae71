"""Reads files of other tools: each module makes calls of models of one format.

`entries` reads JSON of any size for them. `import_interactions --format` takes their names.
"""
