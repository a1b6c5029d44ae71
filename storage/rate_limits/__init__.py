"""How often a client may call, and how many wrong passwords it may try. See decision 0024."""
