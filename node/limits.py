"""Every bound of a node's buffers, here and nowhere else, with its unit in its name.

A bound is what keeps a flood from becoming a memory leak: at the bound, input is refused or dropped with a
reason, and a correct peer retries. ``docs/admission.md`` says which of them clients meet. The bounds that are rules
of the format (``MAX_BATCH_BYTES``, ``MAX_TRANSACTION_BYTES``) stand in ``node/model``: changing them is a fork.
"""

# The clock that drives everything counted in ticks.
TICK_MS = 50
TICKS_PER_SECOND = 1000 // TICK_MS

# Block time: a first proposal is voted for only this near to the replica's own clock (times the chain's time scale).
FRESH_SECONDS = 2

# The mempool.
MEMPOOL_TRANSACTIONS = 20_000
MEMPOOL_BYTES = 64 * 1024 * 1024
MEMPOOL_PER_SENDER = 256

# How its room is shared: a member may hold twice what is free, and a sender as much as its member has left, or so many.
# With k members that want all there is, each holds 2/(2k+1) of the room.
MEMBER_SHARE_OF_FREE = 2
SENDER_SURE_TRANSACTIONS = 16
KEYS_REMEMBERED = 65_536

# Batches. A transaction is one item, one of many readings or orders is as many: a block's execution takes about a tenth
# of a second. One with transactions of several members is full with fewer, since whoever comes next waits for the
# batches before. Beyond so many in flight, another batch adds latency and no throughput: blocks execute one by one.
BATCH_ITEMS = 1_000
BATCH_SHARED_ITEMS = 250
BATCH_BYTES = 1024 * 1024
BATCHES_IN_FLIGHT = 4
HEARTBEAT_TICKS = 5 * TICKS_PER_SECOND

# Forwarding: one message, and how long a gateway waits before it tells everyone.
FORWARD_TRANSACTIONS = 500
FORWARD_BYTES = 1024 * 1024
FORWARDS_PER_TICK = 8
FORWARD_RETRY_TICKS = TICKS_PER_SECOND // 2
FORWARD_HEARD_TICKS = 4 * TICKS_PER_SECOND
FORWARD_RETRY_MAX_TICKS = 16 * TICKS_PER_SECOND

# What a node forwards in a tick, in units (a transaction is one, or as many as it has KiB), and what it listens to of a
# peer: somewhat more, so that a correct one is never cut short. So many are checked at once, peers in turn.
FORWARD_UNITS_PER_TICK = 400
FORWARD_UNITS_BURST = 8_000
PEER_UNITS_PER_TICK = 500
PEER_UNITS_BURST = 10_000
FORWARDS_CHECKED_AT_ONCE = 1_000

# What a peer may have under way here.
PEER_UNVERIFIED_UNITS = 8_000
PEER_BAN_TICKS = 10 * TICKS_PER_SECOND

# What members say of the next epoch before it has begun here, and how long a removed one stays for the others.
AHEAD_MESSAGES_PER_PEER = 64
AHEAD_BYTES_PER_PEER = 4 * 1024 * 1024
LEAVE_TICKS = 10 * TICKS_PER_SECOND
# Blocks of a new epoch after which the certificates of the one before open no link any more.
FAREWELL_BLOCKS = 64

# Blocks for a peer that lags behind: several replies of 4 MiB at once, then more than it can execute.
SUPPLY_BYTES_PER_SECOND = 16 * 1024 * 1024
SUPPLY_BYTES_BURST = 16 * 1024 * 1024

# Batches seen and not yet stored, of which the ids of the transactions are kept: a few windows of 16 heights.
BATCHES_REMEMBERED = 128

# Digests of transactions whose signatures were found good: two generations of this many.
VERIFIED_GENERATION = 50_000

# The vote log is rewritten when it has grown beyond this and to twice what the last rewriting left.
VOTE_LOG_BYTES = 16 * 1024 * 1024

# The links between peers: what one frame may be, how much waiting is joined into one write, and what may wait for
# one peer. Above that the oldest gossip is dropped, then the oldest of anything.
MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_JOINED_BYTES = 8 * 1024 * 1024
MAX_SIGNED_BYTES = 4 * 1024 * 1024
MAX_LIST_ITEMS = 4096
SEND_QUEUE_MESSAGES = 4096
SEND_QUEUE_BYTES = 64 * 1024 * 1024
SEND_QUEUE_MESSAGES_WHILE_DOWN = 64

# Whoever connects, to either port, and has not said who it is or which protocol it speaks by then is cut off.
HANDSHAKE_MS = 10_000

# The gateway: what clients may ask for at once, and how long it bears with those who do not read.
# Half-sent requests take at most MAX_CLIENT_CALLS * MAX_REQUEST_BYTES, half a GiB. Of the places for calls, an address
# holds at most twice what is free. A request has so long to come; after the grace, others may have its place. gRPC
# itself bears with more calls: those that are being refused, whose answers are not taken.
MAX_REQUEST_BYTES = 1024 * 1024
MAX_BULK_TRANSACTIONS = 2000
MAX_REQUEST_FIELDS = MAX_BULK_TRANSACTIONS + 16
MAX_ARGS_BYTES = 64 * 1024
# Nobody unpacks what others have packed: gRPC would hold all of it before it looks at its size.
UNCOMPRESSED = ("grpc.compression_enabled_algorithms_bitset", 1)
MAX_CLIENT_CALLS = 512
MAX_CALLS_OF_A_CONNECTION = 256
MAX_CALLS_BEGUN = 4096
ADDRESS_SHARE_OF_FREE = 2
REQUEST_SECONDS = 10
REQUEST_GRACE_SECONDS = 1
MAX_SUBSCRIBERS = 200
MAX_STRANGERS_FOLLOWING = 100
SUBSCRIBER_PATIENCE_SECONDS = 30
MAX_BOUNDARIES = 64
MAX_BOUNDARIES_BYTES = 1024 * 1024
MAX_STATUS_WAIT_MS = 60_000
MAX_STATUS_WAITERS = 20_000
VERIFY_QUEUE_TRANSACTIONS = 8192

# Queries run between the messages of consensus. One reads so many keys and rows, a few tens of milliseconds; all
# together take so many milliseconds of a second. A connection asks and submits so often; over all connections, a key
# asks so often, and an address without a key four times that.
QUERY_STEPS = 10_000
QUERY_ROWS = 40_000
QUERY_MS_PER_SECOND = 400
QUERY_MS_BURST = 500
CALLS_PER_SECOND = 200
CALLS_BURST = 400
READER_CALLS_PER_SECOND = 100
READER_CALLS_BURST = 400
TRANSACTIONS_PER_SECOND = 10_000
TRANSACTIONS_BURST = 20_000
PACED_CONNECTIONS = 4096

# Handing in transactions: new connections of an address, refused transactions of a connection, for how many a bad
# signature counts, and how many of one that has shown no good ones are checked at a time. A sender's and a member's
# limits, of all gateways together, unless the configuration says otherwise; for how many seconds they may save them up;
# and how much there is again, in units or seconds, before they are given any who have used it up: a block costs what
# some twenty transactions do. So many refusals are held back at a time, and for how long.
CONNECTIONS_PER_SECOND = 20
CONNECTIONS_BURST = 512
PACED_ADDRESSES = 4096
FAULTS_PER_SECOND = 50
FAULTS_BURST = 50
BAD_SIGNATURE_FAULTS = 50
UNPROVEN_SIGNATURES = 32
SENDER_TRANSACTIONS_PER_SECOND = 100
SENDER_BURST_SECONDS = 3
MEMBER_TRANSACTIONS_PER_SECOND = 4_000
MEMBER_BURST_SECONDS = 1
LUMP_UNITS = 16
LUMP_SECONDS = 0.5
PACED_SENDERS = 65_536
TARPIT_CALLS = 128
TARPIT_SECONDS = 1.0

# The operator's socket (``node/control.py``): requests are a line, connections few and short.
CONTROL_REQUEST_BYTES = 64 * 1024
CONTROL_CONNECTIONS = 8
CONTROL_IDLE_SECONDS = 10

# Snapshots: one is made after every so many blocks, in slices between the messages of consensus; so many are kept.
# A chunk is about SNAPSHOT_CHUNK_BYTES, as the hashes of keys fall; values may be large.
SNAPSHOT_BLOCKS = 1_000
SNAPSHOTS_KEPT = 2
SNAPSHOT_CHUNK_BYTES = 256 * 1024
MAX_CHUNK_BYTES = 32 * 1024 * 1024
SNAPSHOT_BUFFER_BYTES = 16 * 1024 * 1024
SNAPSHOT_SLICE_MS = 1
SNAPSHOT_PAUSE_MS = 10

# State transfer: what a node serves to those who join, all of them together, and what these ask for at once.
MAX_SERVED_BLOCKS = 64
MAX_SERVED_BYTES = 2 * 1024 * 1024
SERVED_BYTES_PER_SECOND = 16 * 1024 * 1024
SERVED_BYTES_BURST = 64 * 1024 * 1024
REQUESTS_PER_SOURCE = 2
REQUESTS_UNDER_WAY = 8
# Of blocks that were fetched and wait for those before them: above this, only what is next is asked for.
FETCHED_AHEAD_BYTES = 64 * 1024 * 1024

# The metrics' port: a scrape is one short request.
METRICS_REQUEST_BYTES = 8 * 1024
METRICS_CONNECTIONS = 8
METRICS_SECONDS = 5
