"""Copy all interactions from one backend to the other, and hand the archive over."""
