"""The whole system under stress: faults, kills, full disks, many processes, real servers."""
