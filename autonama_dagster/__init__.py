"""Autonama: a point-in-time scan of the crypto market as Dagster assets."""
