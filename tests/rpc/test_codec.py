"""Frames: every cut, every lie about a length."""

from __future__ import annotations

import ast
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagom_magic import rpc
from lagom_magic.rpc.codec import (
    MAX_CHUNK_BYTES,
    MAX_PAYLOAD_BYTES,
    BlobFrame,
    Decoder,
    MessagesFrame,
    ProtocolError,
    TokenFrame,
    encode_blob,
    encode_messages,
    encode_token,
)

MESSAGES = [{"type": "heartbeat"}, {"type": "noticed", "text": "ett två tre \U0001f600"}]
STREAM = (
    encode_messages(MESSAGES) + encode_blob({"type": "output", "trial_id": 7}, b"\x00\xffbytes") + encode_messages([])
)
FRAMES = [MessagesFrame(MESSAGES), BlobFrame({"type": "output", "trial_id": 7}, b"\x00\xffbytes"), MessagesFrame([])]


def test_frames_survive_a_cut_at_every_byte() -> None:
    for cut in range(len(STREAM) + 1):
        decoder = Decoder(authenticated=True)
        assert decoder.feed(STREAM[:cut]) + decoder.feed(STREAM[cut:]) == FRAMES


def test_frames_survive_arriving_byte_by_byte() -> None:
    decoder = Decoder(authenticated=True)
    assert [frame for i in range(len(STREAM)) for frame in decoder.feed(STREAM[i : i + 1])] == FRAMES


@given(st.binary(max_size=200))
def test_garbage_gives_frames_or_a_protocol_error_and_nothing_else(data: bytes) -> None:
    for authenticated in (False, True):
        try:
            Decoder(authenticated=authenticated).feed(data)
        except ProtocolError:
            continue


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=4), st.binary(max_size=64))
def test_what_is_encoded_is_decoded(messages: list[dict[str, object]], data: bytes) -> None:
    stream = encode_messages(messages) + encode_blob({"type": "file"}, data)
    printable = json.loads(json.dumps(messages, ensure_ascii=False).encode("utf-8", "backslashreplace"))
    assert Decoder(authenticated=True).feed(stream) == [MessagesFrame(printable), BlobFrame({"type": "file"}, data)]


def test_before_the_token_only_a_token_is_accepted() -> None:
    with pytest.raises(ProtocolError, match="unexpected frame type"):
        Decoder(authenticated=False).feed(STREAM)
    assert Decoder(authenticated=False).feed(encode_token(b"t" * 32)) == [TokenFrame(b"t" * 32)]


def test_a_second_token_is_refused() -> None:
    with pytest.raises(ProtocolError):
        Decoder(authenticated=True).feed(encode_token(b"t" * 32))


@pytest.mark.parametrize("kind", [b"T", b"J", b"B"])
def test_a_giant_length_is_refused_before_its_bytes_come(kind: bytes) -> None:
    decoder = Decoder(authenticated=kind != b"T")
    with pytest.raises(ProtocolError, match="allowed"):
        decoder.feed(kind + struct.pack("!I", MAX_PAYLOAD_BYTES[kind] + 1))


@pytest.mark.parametrize("payload", [b"{}", b"[1]", b"[NaN]", b"[Infinity]", b"\xff", b"[", b"[" * 100_000])
def test_json_that_is_no_array_of_objects_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder(authenticated=True).feed(b"J" + struct.pack("!I", len(payload)) + payload)


@pytest.mark.parametrize("payload", [b"", b"\x00\x00\x00\xffxx", b"\x00\x00\x00\x02[]", b"\xff\xff\xff\xff{}"])
def test_a_blob_with_a_wrong_header_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder(authenticated=True).feed(b"B" + struct.pack("!I", len(payload)) + payload)


def test_nan_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_messages([{"value": float("nan")}])


def test_a_chunk_above_the_cap_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="allowed"):
        encode_blob({}, bytes(MAX_CHUNK_BYTES + 1))


def test_a_token_never_shows_itself() -> None:
    assert "s3cr" not in repr(TokenFrame(b"s3cr" * 8))


def test_nothing_in_rpc_can_execute_what_it_receives() -> None:
    forbidden = {"pickle", "cloudpickle", "marshal", "shelve", "dill", "yaml"}
    for path in Path(rpc.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            module = node.module if isinstance(node, ast.ImportFrom) and node.module else ""
            assert not {name.split(".")[0] for name in [*names, module]} & forbidden, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "__import__"}, path
