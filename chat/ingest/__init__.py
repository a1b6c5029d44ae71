"""Takes in calls of language models as other tools report them.

Each format has a translator, which makes `ModelCall`s of it and says what it left out; `keep` makes
interactions of these, whatever the format, and saves them.
"""
