"""Enrolment codes: what is typed badly is refused, what is scanned well is read, and none is ever shown by mistake."""

import base64
import io
from pathlib import Path

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from chaincode.enrolments import KINDS
from cli.enrol import NewCode
from node.enrolment import PREFIX, Enrolment, _checksum, enrol_args, read_code
from node.errors import ConfigError, RefusedError
from node.model.keys import SigningKey, verify

CODE = Enrolment(bytes(range(32)), "device", "home-03/ev", 1_500_000_000, ("10.0.0.5:7401", "[::1]:7402"), bytes(32))

codes = st.builds(
    Enrolment,
    st.binary(min_size=32, max_size=32),
    st.sampled_from(KINDS),
    st.text("abcdefgh0123456789./-", min_size=1, max_size=48),
    st.integers(0, 2**40 - 1),
    st.lists(st.sampled_from(("10.0.0.5:7401", "gateway.example.org:443")), max_size=9).map(tuple),
    st.binary(min_size=32, max_size=32),
)


@given(codes)
def test_what_a_code_says_is_what_was_meant(code: Enrolment) -> None:
    line = code.code()
    assert read_code(line) == code
    assert read_code(f" {line[:30].lower()}\r\n-{line[30:]}\n") == code
    assert set(line) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"), "the small alphabet of QR codes"
    assert code.seed.hex() not in repr(code) and "seed" not in repr(code)


@given(st.integers(len(PREFIX), len(CODE.code()) - 1), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_one_wrong_letter_is_noticed(place: int, letter: str) -> None:
    line = CODE.code()
    other = line[:place] + letter + line[place + 1 :]
    if other == line:
        return
    try:
        assert read_code(other) == CODE, "the last letter has bits that say nothing"
        assert place == len(line) - 1
    except RefusedError as error:
        assert error.code == "bad-code" and other not in error.message and letter * 3 not in error.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "WATT1",
        "WATT2" + CODE.code()[5:],
        CODE.code()[:-1],
        CODE.code()[1:],
        CODE.code() + "A",
        "WATT1" + "é" * 9,
        "WATT1" + "A" * 2000,
        CODE.code() * 2,
        "WATT1" + "A" * 64,
        "WATT1====",
        "\0" * 40,
    ],
)
def test_what_is_no_code(text: str) -> None:
    with pytest.raises(RefusedError, match="bad-code") as caught:
        read_code(text)
    assert text.strip() == "" or len(text) < 6 or text not in caught.value.message


@given(st.binary(max_size=300))
def test_any_bytes_in_the_form_of_a_code(data: bytes) -> None:
    """With a good checksum over nonsense: whoever made it, it is read whole or refused."""
    line = PREFIX + base64.b32encode(data + _checksum(data)).decode().rstrip("=")
    try:
        read = read_code(line)
    except RefusedError as error:
        assert error.code == "bad-code"
    else:
        assert read.kind in KINDS and len(read.chain) == len(read.seed) == 32


def test_too_many_gateways_do_not_fit() -> None:
    with pytest.raises(RefusedError, match="bad-address"):
        Enrolment(bytes(32), "device", "a", 0, ("gateway.example.org:443",) * 12, bytes(32)).code()


def test_the_call_that_enrols_is_for_this_code_alone() -> None:
    key = SigningKey(bytes([7] * 32))
    args = enrol_args(CODE, key)
    assert args["key"] == key.public_key
    again = enrol_args(CODE, key)
    assert args == again
    other = enrol_args(read_code(Enrolment(*_fields(bytes([1] * 32))).code()), key)
    assert other["proof"] != args["proof"]
    assert not verify(key.public_key, b"", args["proof"])


def test_its_picture_fits_on_a_terminal() -> None:
    picture = segno.make(CODE.code(), error="m")
    out = io.StringIO()
    picture.terminal(out=out, compact=True)
    lines = out.getvalue().splitlines()
    assert picture.mode == "alphanumeric" and len(lines) <= 40, len(lines)


def _fields(chain: bytes) -> tuple[bytes, str, str, int, tuple[str, ...], bytes]:
    return chain, CODE.kind, CODE.name, CODE.until, CODE.gateways, CODE.seed


def test_a_code_that_could_not_be_written_is_not_asked_for(tmp_path: Path) -> None:
    """Else the lost key would be reset, and the code by which another one is enrolled be lost, too."""
    place = tmp_path / "code"
    NewCode("device", "home-03/ev", 1, ("127.0.0.1:7401",), place, False, False)
    place.write_text("another code")
    with pytest.raises(ConfigError, match="key-exists"):
        NewCode("device", "home-03/ev", 1, ("127.0.0.1:7401",), place, False, False)
    assert place.read_text() == "another code"
