"""Where clients meet a node. gRPC's own diagnostics stay quiet: what matters is logged by us, in one line."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
