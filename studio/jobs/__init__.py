"""Durable jobs: the store is the truth, a spawned worker computes, a supervisor keeps it alive."""
