"""Where a device was is remembered as long as a slot of that time can change, in whatever order slots become final."""

from chaincode import identity
from tests.chaincode.council import Council
from tests.chaincode.marketplace import SLOT_S, key_of, product_state


def test_a_slot_that_is_final_before_an_older_one_does_not_make_its_places_forgotten() -> None:
    """The dispute window is shortened by vote: slots that open then are final before those that opened earlier."""
    council = Council(dispute_window_s=20 * SLOT_S, open_before_s=SLOT_S, gate_before_end_s=0)
    council.change(dispute_window_s=60)
    council.next_block(2 * SLOT_S)
    move = {"device": "home-3/ev"}
    council.call(key_of("home-3/ev"), "identity", "connect", **move, bus="b2", slot=6)
    while council.time < 6 * SLOT_S + 3_600 or product_state(council, 5) != "FINAL":
        due = council.next_event()
        assert due is not None
        council.next_block(max(due, council.time))
    assert product_state(council, 0) == "SETTLED"
    council.call(key_of("home-3/ev"), "identity", "connect", **move, bus="b1", slot=council.time // SLOT_S + 1)
    with council.transaction() as ctx:
        assert [identity.bus_at(ctx, "home-3/ev", slot) for slot in (0, 5, 6)] == ["b1", "b1", "b2"]
