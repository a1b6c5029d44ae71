"""What is about any SQL database, whichever keeps the interactions."""
