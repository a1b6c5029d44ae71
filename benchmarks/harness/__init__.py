"""The parts of the API benchmark."""
