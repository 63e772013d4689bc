"""Bundles of contracts that take the place of others at a voted height: what they are, where they lie, trying them."""
