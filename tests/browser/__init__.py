"""The pages of staff in Chromium, against a real server on each backend.

A test takes `site` (a server with its data, for the module) and `open_page` (a page that a member
of staff has logged in to). `checking.check` looks for what is wrong with a page: errors, requests
to other hosts, content beside the screen, and what axe-core finds serious.
"""
