"""The certificates of gateways and operators: who issues them, how they are checked, when they end.

Links between members do not use them (``node/transport/tls.py``): whatever becomes of them, blocks are made.
"""
