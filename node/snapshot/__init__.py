"""State transfer: how nodes make snapshots and serve them, and how a node that joins takes one over.

A snapshot is the state after a certified block, cut into subtrees of the state tree at one depth: its chunks. Whoever
holds the genesis document checks all of it: the members' certificate proves the header, the header names the state's
root, the upper nodes of the tree lead from there to the chunks, each of which is checked by itself.
"""
