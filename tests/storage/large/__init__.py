"""Large texts of interactions: objects in the archive's folder or bucket."""
