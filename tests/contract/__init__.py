"""What every backend owes, run on all of them; and both compared step by step."""
