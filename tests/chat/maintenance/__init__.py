"""Archive, purge, restore, erase, export and migrate: also when killed or crossing."""
