"""The long proofs: what they are, how they are made, and the record of each."""
