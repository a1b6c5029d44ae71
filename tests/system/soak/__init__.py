"""The random fault loop: everything at once, for as long as one likes (`make soak`)."""
