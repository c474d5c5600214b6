"""Director mode: a short idea becomes a shot list that a person can edit."""
