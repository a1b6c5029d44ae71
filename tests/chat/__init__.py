"""What people and services use: the API, the admin, the commands, maintenance."""
