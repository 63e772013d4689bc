"""Valid inputs, spoiled: what both the tests with Hypothesis and `make fuzz` begin with."""

from hypothesis import strategies as st

HUGE: tuple[bytes, ...] = (
    b"\xdd\xff\xff\xff\xff",  # MessagePack: an array, a map, bytes, text, an extension of 4 GiB
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\x0a\xff\xff\xff\xff\x0f",  # protobuf: a field of 4 GiB
    b"\xff" * 10,  # protobuf: an integer without an end
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"9" * 400,
)
DEEP: tuple[bytes, ...] = tuple(
    unit * count for count in (40, 3_000, 50_000) for unit in (b"\x91", b"\x81\xa0", b"[", b'{"":', b"\x0a\x80", b"a=[")
)
"""Nested far deeper than any stack is high."""
WORDS: tuple[bytes, ...] = (
    b"",
    b"\0",
    b"\xc0",
    b"\xc3",
    b"-1",
    b"null",
    b'"',
    b"\xff",
    b"0" * 64,
    b"18446744073709551616",
)


@st.composite
def spoiled(draw: st.DrawFn, valid: tuple[bytes, ...]) -> bytes:
    """One of ``valid`` after up to four changes: flipped, cut, spliced, doubled, with lengths that cannot be."""
    data = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.sampled_from((0, 1, 2, 4, 8, 32, 64, 1 << 20))))
        match draw(st.integers(0, 6)):
            case 0 if at < len(data):
                flipped = data[at] ^ draw(st.integers(1, 255))
                data = data[:at] + bytes([flipped]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[end:]
            case 2:
                data = data[:at] + draw(st.binary(max_size=24)) + data[end:]
            case 3:
                other = draw(st.sampled_from(valid))
                data = data[:at] + other[draw(st.integers(0, len(other))) :]
            case 4:
                data = data[:end] + data[at:end] + data[end:]
            case 5:
                data = data[:at] + draw(st.sampled_from(HUGE + WORDS)) + data[end:]
            case 6:
                data = data[:at] + draw(st.sampled_from(DEEP)) + data[end:]
    return data
