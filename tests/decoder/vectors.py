#!/usr/bin/env python3
"""Writes keys/vectors.json: the test vectors of the format in keys/FORMAT.md.

    vectors.py            write the file
    vectors.py --check    fail if the file is not what this would write, or if FORMAT.md shows
                          a value that the file does not hold

This is an implementation of its own, which shares no code with the Rust one: each checks the other.
Everything in the output follows from labels, so that two runs write the same bytes. In use every
key comes from KMS and EVERY NONCE IS RANDOM: never derive a nonce from anything as is done here.

Needs: cryptography >= 43, on OpenSSL 3.2 or later (AES-GCM-SIV).
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import struct
import sys
import unicodedata
import uuid
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

KEYS = Path(__file__).resolve().parents[2] / "keys"
STEP, ENC, COMMIT = "pii-vault/v1/step", "pii-vault/v1/enc", "pii-vault/v1/commit"
MAX_STEP = 1440


def labelled(label: str, size: int = 32) -> bytes:
    return hashlib.sha256(f"pii-vault test vectors: {label}".encode()).digest()[:size]


def labelled_uuid(label: str) -> uuid.UUID:
    return uuid.UUID(bytes=labelled(label, 16), version=4)


VAULT = labelled_uuid("vault id")
DATA_KEY, DATA_KEY_ID = labelled("data key"), labelled_uuid("data key id")
OTHER_KEY, OTHER_KEY_ID = labelled("other data key"), labelled_uuid("other data key id")
DEAD_KEY, DEAD_KEY_ID = labelled("dead-letter key"), labelled_uuid("dead-letter key id")
TOKEN_KEY, TOKEN_KEY_ID = labelled("token key"), labelled_uuid("token key id")
OTHER_TOKEN_KEY = labelled("other token key")


# --- the format -------------------------------------------------------------------------------


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(key: bytes, info: str) -> bytes:
    """RFC 5869, L = 32: one block of output, so T(1) = HMAC(PRK, info || 0x01)."""
    return hmac_sha256(hmac_sha256(bytes(32), key), info.encode("ascii") + b"\x01")


def canonical(field: str, value: str) -> bytes:
    if field == "device_id":
        return value.encode()
    address = ipaddress.ip_address(value)
    return (getattr(address, "ipv4_mapped", None) or address).packed


def token(key: bytes, field: str, value: str) -> str:
    mac = hmac_sha256(hkdf(key, f"pii-vault/v1/token/{field}"), canonical(field, value))
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def step_key(key: bytes, step: int) -> bytes:
    for _ in range(step + 1):
        key = hkdf(key, STEP)
    return key


def lengthed(parts: list[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def value_parts(vault, column, create_date, event_id, user_id, key_id, step) -> list[bytes]:
    return [vault.bytes, b"\x01", b"login_events", column.encode(), create_date.encode(),
            event_id.bytes, user_id.encode(), key_id.bytes, struct.pack(">I", step)]


def dead_letter_parts(vault, create_date, message_id, key_id, step) -> list[bytes]:
    return [vault.bytes, b"\x01", b"dead_letters", b"body_ciphertext", create_date.encode(),
            message_id.bytes, key_id.bytes, struct.pack(">I", step)]


def padded(field: str, text: bytes) -> bytes:
    size = 48 if field == "ip" else -(-(2 + len(text)) // 32) * 32
    return (struct.pack(">H", len(text)) + text).ljust(size, b"\0")


def seal(sealing_key: bytes, step: int, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    return b"\x01" + struct.pack(">I", step) + nonce + AESGCMSIV(sealing_key).encrypt(nonce, plaintext, aad)


def event_id(vault: uuid.UUID, message_id: str) -> uuid.UUID:
    if re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", message_id):
        return uuid.UUID(message_id)
    digest = bytearray(hashlib.sha1(vault.bytes + message_id.encode()).digest()[:16])  # RFC 9562, 5.5
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(digest))


def line_id(vault: uuid.UUID, source: str, line: int) -> uuid.UUID:
    name = b"\xff" + b"pii-vault/v1/line" + lengthed([source.encode()]) + struct.pack(">Q", line)
    digest = bytearray(hashlib.sha1(vault.bytes + name).digest()[:16])  # RFC 9562, 5.5
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(digest))


def nullable(part: bytes | None) -> bytes:
    return b"\xff\xff\xff\xff" if part is None else lengthed([part])


def audit_bytes(vault: uuid.UUID, before: bytes, entry: dict) -> bytes:
    texts = ["action", "actor", "role", "client_address", "claimed_host", "claimed_version", "decision", "refusal",
             "reason", "case_id"]
    encoded = [None if entry[name] is None else entry[name].encode() for name in texts]
    subject = None if entry["subject"] is None else uuid.UUID(entry["subject"]).bytes
    parts = [b"pii-vault/v1/audit", vault.bytes, before, struct.pack(">q", entry["seq"]),
             struct.pack(">q", entry["at"]), *encoded, subject, entry["details"].encode()]
    return b"".join(map(nullable, parts))


def list_bytes(rows: list[tuple[str, uuid.UUID]]) -> bytes:
    return lengthed([b"pii-vault/v1/list"] + [part for day, event in rows for part in (day.encode(), event.bytes)])


# --- the vectors ------------------------------------------------------------------------------


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def hkdfs():
    pairs = [(bytes.fromhex("0b" * 22), ""), (DATA_KEY, STEP), (DATA_KEY, ENC), (DATA_KEY, COMMIT),
             (TOKEN_KEY, "pii-vault/v1/token/ip"), (TOKEN_KEY, "pii-vault/v1/token/device_id")]
    for key, info in pairs:
        yield {"key": key.hex(), "info": info, "prk": hmac_sha256(bytes(32), key).hex(), "okm": hkdf(key, info).hex()}


def tokens():
    ips = ["203.0.113.7", "::ffff:203.0.113.7", "::FFFF:cb00:7107", "0:0:0:0:0:ffff:203.0.113.7",
           "0000:0000:0000:0000:0000:ffff:192.168.100.228", "192.168.100.228",
           "2001:db8::1", "2001:DB8::1", "2001:db8:0:0:0:0:0:1", "2001:0db8:0000:0000:0000:0000:0000:0001",
           "2001:db8::0.0.0.1", "::203.0.113.7", "::", "::1", "0.0.0.0", "127.0.0.1", "10.0.0.1",
           "240.0.0.1", "255.255.255.255", "1:2:3:4:5:6:7::"]
    devices = ["203.0.113.7", "000-12-3456", "a", " ", "000-12-3456 ", "ABC-1", "abc-1", "a b  c",
               "Gerät-ß", "ger\u00e4t", "gera\u0308t", "設備-七", "\U0001f4f1", "d" * 256, "é" * 128]
    for field, values in (("ip", ips), ("device_id", devices)):
        for value in values:
            yield {"token_key": TOKEN_KEY.hex(), "field": field, "value": value,
                   "canonical": canonical(field, value).hex(), "token": token(TOKEN_KEY, field, value)}
    for field in ("ip", "device_id"):
        yield {"token_key": OTHER_TOKEN_KEY.hex(), "field": field, "value": ips[0],
               "canonical": canonical(field, ips[0]).hex(), "token": token(OTHER_TOKEN_KEY, field, ips[0])}


def refused_token_values():
    ips = ["", " ", "203.0.113.7 ", " 203.0.113.7", "203.0.113", "203.0.113.256", "203.0.113.07", "203.0.113.7/32",
           "203.0.113.7:80", "0x7f.0.0.1", "2130706433", "fe80::1%eth0", "::1%1", "[::1]", "1::2::3", ":::",
           "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7", "1::2:3:4:5:6:7:8", "00001::", "g::1", "::ffff:203.0.113.07",
           "\uff11.2.3.4", "203.0.113.7\0", "0000:0000:0000:0000:0000:0000:0000:0000:0000000", "unknown"]
    for value in ips:
        yield {"field": "ip", "value": value}
    for value in ["", "d" * 257, "é" * 128 + "x", "ab\0", "\0"]:
        yield {"field": "device_id", "value": value}


def commitments():
    for purpose, key in (("data", DATA_KEY), ("data", OTHER_KEY), ("dead-letter", DEAD_KEY), ("token", TOKEN_KEY)):
        yield {"purpose": purpose, "key": key.hex(), "commitment": hkdf(key, COMMIT).hex()}


def ratchet():
    for key, steps in ((DATA_KEY, (0, 1, 2, 59, 1440)), (DEAD_KEY, (0, 1, 2))):
        for step in steps:
            at = step_key(key, step)
            yield {"data_key": key.hex(), "step": step, "step_key": at.hex(), "sealing_key": hkdf(at, ENC).hex()}


def value(name, column, text, step, user_id="user-1001", create_date="2025-03-09", key=DATA_KEY, key_id=DATA_KEY_ID):
    field, event = column.removesuffix("_ciphertext"), labelled_uuid(f"event {name}")
    at = step_key(key, step)
    nonce, plaintext = labelled(f"nonce {name}", 12), padded(field, text.encode())
    aad = lengthed(value_parts(VAULT, column, create_date, event, user_id, key_id, step))
    sealed = seal(hkdf(at, ENC), step, nonce, plaintext, aad)
    return {"name": name, "vault_id": str(VAULT), "key": key.hex(), "key_id": str(key_id),
            "commitment": hkdf(key, COMMIT).hex(), "max_step": MAX_STEP, "table": "login_events", "column": column,
            "create_date": create_date, "event_id": str(event), "user_id": user_id, "field": field, "text": text,
            "step": step, "step_key": at.hex(), "sealing_key": hkdf(at, ENC).hex(), "nonce": nonce.hex(),
            "aad": aad.hex(), "plaintext": plaintext.hex(), "ciphertext": sealed[17:-16].hex(),
            "tag": sealed[-16:].hex(), "sealed": b64(sealed)}


def values():
    ip, device = "ip_ciphertext", "device_id_ciphertext"
    yield value("worked example", ip, "203.0.113.7", 2)
    yield value("ip at step 0", ip, "203.0.113.7", 0)
    yield value("ip at the last step", ip, "203.0.113.7", 1440)
    yield value("mapped ip keeps its spelling", ip, "::ffff:203.0.113.7", 1)
    yield value("upper-case IPv6 keeps its spelling", ip, "2001:DB8::1", 59)
    yield value("longest ip", ip, "0000:0000:0000:0000:0000:ffff:192.168.100.228", 59)
    yield value("other key", ip, "203.0.113.7", 2, key=OTHER_KEY, key_id=OTHER_KEY_ID)
    for size in (1, 30, 31, 62, 63, 256):
        yield value(f"device_id of {size} bytes", device, ("0123456789abcdef" * 16)[:size], size % 4)
    yield value("non-ASCII device_id", device, "Gerät-設備-\U0001f4f1", 2)
    yield value("device_id with spaces around it", device, " 000-12-3456  ", 1)
    yield value("device_id of 256 bytes, non-ASCII", device, "é" * 128, 59)
    yield value("non-ASCII user_id", device, "000-12-3456", 2, user_id="Zoë-\u738b\u5c0f\u660e")
    yield value("longest user_id", ip, "203.0.113.7", 2, user_id="\U0001f464" * 128)
    yield value("user_id of one byte", ip, "203.0.113.7", 2, user_id="u")
    yield value("leap day", ip, "203.0.113.7", 2, create_date="2024-02-29")


def dead_letter(name, body, step, create_date="2025-03-09"):
    message = labelled_uuid(f"message {name}")
    at, nonce = step_key(DEAD_KEY, step), labelled(f"nonce dead letter {name}", 12)
    aad = lengthed(dead_letter_parts(VAULT, create_date, message, DEAD_KEY_ID, step))
    return {"name": name, "vault_id": str(VAULT), "key": DEAD_KEY.hex(), "key_id": str(DEAD_KEY_ID),
            "commitment": hkdf(DEAD_KEY, COMMIT).hex(), "max_step": MAX_STEP, "table": "dead_letters",
            "column": "body_ciphertext", "create_date": create_date, "message_id": str(message), "body": body,
            "step": step, "sealing_key": hkdf(at, ENC).hex(), "nonce": nonce.hex(), "aad": aad.hex(),
            "sealed": b64(seal(hkdf(at, ENC), step, nonce, body.encode(), aad))}


def dead_letters():
    yield dead_letter("no bytes", "", 0)
    yield dead_letter("one byte", "x", 0)
    yield dead_letter("empty object", "{}", 1)
    yield dead_letter("ordinary", '{"user_id": "user-1001", "device_id": "000-12-3456", "ip": "not an address"}', 2)
    yield dead_letter("invalid JSON", '{"user_id": "user-1001", "ip": "203.0.113.7', 2)
    yield dead_letter("non-ASCII", '{"user_id": "Zoë", "locale": "設備"}', 59)
    yield dead_letter("ends in zeros", "x\0\0", 1)
    yield dead_letter("5 kB", ('{"device_id": "0123456789abcdef"}, ' * 150)[:5120], 2)


def refused_values():
    first = value("worked example", "ip_ciphertext", "203.0.113.7", 2)
    device = value("device", "device_id_ciphertext", "000-12-3456", 2)
    composed = value("composed", "ip_ciphertext", "203.0.113.7", 2, user_id="Zo\u00eb")

    def entry(name, changed, error, base=first, plaintext=None, **other):
        shown = {key: base[key] for key in ("vault_id", "key", "key_id", "commitment", "max_step", "table", "column",
                                            "create_date", "event_id", "user_id", "sealed")}
        return {"name": name, "changed": changed, "error": error} | shown | other | {
            "plaintext": plaintext.hex() if plaintext is not None else None}

    def bytes_changed(name, changed, error, change, base=first):
        sealed = bytearray(base64.b64decode(base["sealed"]))
        return entry(name, changed, error, base, sealed=b64(bytes(change(sealed))))

    def flip(at):
        def change(sealed):
            sealed[at] ^= 1
            return sealed
        return change

    yield entry("another vault", "vault_id", "seal", vault_id=str(labelled_uuid("other vault id")))
    yield entry("the day after", "create_date", "seal", create_date="2025-03-10")
    yield entry("another event", "event_id", "seal", event_id=str(labelled_uuid("other event")))
    yield entry("another user", "user_id", "seal", user_id="user-1002")
    yield entry("user_id with a space more", "user_id", "seal", user_id="user-1001 ")
    yield entry("user_id in another Unicode form", "user_id", "seal", composed,
                user_id=unicodedata.normalize("NFD", composed["user_id"]))
    yield entry("another key's id", "key_id", "seal", key_id=str(OTHER_KEY_ID))
    yield entry("another key under the stored commitment", "key", "commitment", key=OTHER_KEY.hex())
    yield entry("another key with its own commitment", "key", "seal", key=OTHER_KEY.hex(),
                commitment=hkdf(OTHER_KEY, COMMIT).hex())
    yield entry("commitment of another key", "commitment", "commitment", commitment=hkdf(OTHER_KEY, COMMIT).hex())
    yield entry("ip value in the device_id column", "column", "size", column="device_id_ciphertext")
    yield entry("device_id value in the ip column", "column", "size", device, column="ip_ciphertext")
    yield entry("max_step below the step", "max_step", "step", max_step=1)
    yield bytes_changed("step above max_step", "step", "step", lambda s: s[:1] + struct.pack(">I", 1441) + s[5:])
    yield bytes_changed("largest step", "step", "step", lambda s: s[:1] + b"\xff" * 4 + s[5:])
    yield bytes_changed("the step before", "step", "seal", lambda s: s[:1] + struct.pack(">I", 1) + s[5:])
    yield bytes_changed("the step after", "step", "seal", lambda s: s[:1] + struct.pack(">I", 3) + s[5:])
    yield bytes_changed("version 0", "version", "version", lambda s: b"\x00" + s[1:])
    yield bytes_changed("version 2", "version", "version", lambda s: b"\x02" + s[1:])
    yield bytes_changed("a bit of the nonce", "nonce", "seal", flip(5))
    yield bytes_changed("a bit of the ciphertext", "ciphertext", "seal", flip(17))
    yield bytes_changed("a bit of the padding's ciphertext", "ciphertext", "seal", flip(64))
    yield bytes_changed("a bit of the tag", "tag", "seal", flip(80))
    yield bytes_changed("a byte less", "size", "size", lambda s: s[:-1])
    yield bytes_changed("a byte more", "size", "size", lambda s: s + b"\0")
    yield bytes_changed("header alone", "size", "size", lambda s: s[:17])
    yield bytes_changed("nothing", "size", "size", lambda s: b"")
    yield bytes_changed("device_id a block less", "size", "size", lambda s: s[:-32], device)
    yield bytes_changed("device_id a byte less", "size", "size", lambda s: s[:-1], device)

    # Sealed with the right key, but for other associated data or under the wrong key of the ratchet.
    event, root = uuid.UUID(first["event_id"]), DATA_KEY
    parts = value_parts(VAULT, "ip_ciphertext", first["create_date"], event, first["user_id"], DATA_KEY_ID, 2)
    nonce, plaintext = bytes.fromhex(first["nonce"]), bytes.fromhex(first["plaintext"])

    def sealed(key=hkdf(step_key(root, 2), ENC), aad=lengthed(parts), plaintext=plaintext):
        return b64(seal(key, 2, nonce, plaintext, aad))

    def parts_with(index, part):
        return lengthed(parts[:index] + [part] + parts[index + 1:])

    assert sealed() == first["sealed"]
    yield entry("sealed for version 2", "aad", "seal", sealed=sealed(aad=parts_with(1, b"\x02")))
    yield entry("sealed for another table", "aad", "seal", sealed=sealed(aad=parts_with(2, b"dead_letters")))
    yield entry("sealed for another column", "aad", "seal", sealed=sealed(aad=parts_with(3, b"device_id_ciphertext")))
    yield entry("sealed for another step", "aad", "seal", sealed=sealed(aad=parts_with(8, struct.pack(">I", 3))))
    yield entry("sealed for a little-endian step", "aad", "seal",
                sealed=sealed(aad=parts_with(8, struct.pack("<I", 2))))
    yield entry("sealed for a vault id in text", "aad", "seal", sealed=sealed(aad=parts_with(0, str(VAULT).encode())))
    yield entry("sealed without lengths", "aad", "seal", sealed=sealed(aad=b"".join(parts)))
    yield entry("sealed with little-endian lengths", "aad", "seal",
                sealed=sealed(aad=b"".join(struct.pack("<I", len(part)) + part for part in parts)))
    yield entry("sealed with no associated data", "aad", "seal", sealed=sealed(aad=b""))
    yield entry("sealed under the data key", "sealing_key", "seal", sealed=sealed(root))
    yield entry("sealed under the step key", "sealing_key", "seal", sealed=sealed(step_key(root, 2)))
    yield entry("sealed under the data key's HKDF, no step", "sealing_key", "seal", sealed=sealed(hkdf(root, ENC)))

    # Sealed as it should be, over a plaintext that no writer makes.
    def badly_padded(name, error, plaintext, base=first):
        made = b64(seal(bytes.fromhex(base["sealing_key"]), 2, bytes.fromhex(base["nonce"]), plaintext,
                        bytes.fromhex(base["aad"])))
        return entry(name, "plaintext", error, base, plaintext, sealed=made)

    text = b"203.0.113.7"
    yield badly_padded("length beyond the plaintext", "padding", b"\x00\x2f" + text.ljust(46, b"\0"))
    yield badly_padded("largest length", "padding", b"\xff\xff" + text.ljust(46, b"\0"))
    yield badly_padded("little-endian length", "padding", b"\x0b\x00" + text.ljust(46, b"\0"))
    yield badly_padded("length one short", "padding", b"\x00\x0a" + text.ljust(46, b"\0"))
    yield badly_padded("last byte not zero", "padding", b"\x00\x0b" + text.ljust(45, b"\0") + b"\x01")
    yield badly_padded("padding of spaces", "padding", b"\x00\x0b" + text.ljust(46))
    yield badly_padded("ip padded to 64", "size", padded("ip", text).ljust(64, b"\0"))
    yield badly_padded("ip padded to 32", "size", padded("ip", text)[:32])
    yield badly_padded("ip without padding", "size", b"\x00\x0b" + text)
    yield badly_padded("ip of no bytes", "text", bytes(48))
    yield badly_padded("ip of 46 bytes", "text", padded("ip", b"1" * 46))
    yield badly_padded("ip that is not UTF-8", "text", padded("ip", b"\xff" + text))
    text = b"000-12-3456"
    yield badly_padded("device_id with a block more", "padding", padded("device_id", text).ljust(64, b"\0"), device)
    yield badly_padded("device_id with a length one more than fits", "padding", b"\x00\x1f" + b"d" * 30, device)
    yield badly_padded("device_id padded to 48", "size", padded("device_id", text).ljust(48, b"\0"), device)
    yield badly_padded("device_id padded to 320", "size", padded("device_id", b"d" * 290), device)
    yield badly_padded("device_id of no bytes", "text", bytes(32), device)
    yield badly_padded("device_id of 257 bytes", "text", padded("device_id", b"d" * 257), device)
    yield badly_padded("device_id that is not UTF-8", "text", padded("device_id", b"\xc3\x28"), device)


def refused_dead_letters():
    first = dead_letter("ordinary", "{}", 2)
    event = value("device", "device_id_ciphertext", "000-12-3456", 2)

    def entry(name, changed, error, **other):
        shown = {key: first[key] for key in ("vault_id", "key", "key_id", "commitment", "max_step", "table", "column",
                                             "create_date", "message_id", "sealed")}
        return {"name": name, "changed": changed, "error": error} | shown | other

    sealed = base64.b64decode(first["sealed"])
    yield entry("another vault", "vault_id", "seal", vault_id=str(labelled_uuid("other vault id")))
    yield entry("the day before", "create_date", "seal", create_date="2025-03-08")
    yield entry("another message", "message_id", "seal", message_id=str(labelled_uuid("other message")))
    yield entry("another key's id", "key_id", "seal", key_id=str(DATA_KEY_ID))
    yield entry("another key under the stored commitment", "key", "commitment", key=DATA_KEY.hex())
    yield entry("another key with its own commitment", "key", "seal", key=DATA_KEY.hex(),
                commitment=hkdf(DATA_KEY, COMMIT).hex())
    yield entry("a value of login_events", "table", "seal", key=event["key"], key_id=event["key_id"],
                commitment=event["commitment"], message_id=event["event_id"], sealed=event["sealed"])
    yield entry("max_step below the step", "max_step", "step", max_step=1)
    yield entry("the step after", "step", "seal", sealed=b64(sealed[:1] + struct.pack(">I", 3) + sealed[5:]))
    yield entry("version 2", "version", "version", sealed=b64(b"\x02" + sealed[1:]))
    yield entry("a bit of the tag", "tag", "seal", sealed=b64(sealed[:-1] + bytes([sealed[-1] ^ 1])))
    yield entry("a byte less", "size", "seal", sealed=b64(sealed[:-1]))
    yield entry("shorter than header and tag", "size", "size", sealed=b64(sealed[:32]))
    yield entry("body that is not UTF-8", "plaintext", "text",
                sealed=b64(seal(bytes.fromhex(first["sealing_key"]), 2, bytes.fromhex(first["nonce"]), b"{\xff}",
                                bytes.fromhex(first["aad"]))))


def event_ids():
    for message_id in ["5fea7756-0ea4-451a-a703-a558b933e274", "5FEA7756-0EA4-451A-A703-A558B933E274",
                       "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
                       "5fea77560ea4451aa703a558b933e274", "{5fea7756-0ea4-451a-a703-a558b933e274}",
                       "urn:uuid:5fea7756-0ea4-451a-a703-a558b933e274", "5fea7756-0ea4-451a-a703-a558b933e274 ",
                       "5fea7756-0ea4-451a-a703-a558b933e27g", "5fea77560-ea4-451a-a703-a558b933e274",
                       "message-1", "Message-1", "1", "Zoë-設備", "m" * 100]:
        yield {"vault_id": str(VAULT), "sqs_message_id": message_id, "id": str(event_id(VAULT, message_id))}


def line_ids():
    for source, line in [("logins-2025-03-09.jsonl", 1), ("logins-2025-03-09.jsonl", 2),
                         ("logins-2025-03-09.jsonl.gz", 1), ("1", 256), ("x", 2**32), ("x", 2**64 - 1),
                         ("Zoë-設備", 7), ("\0\0\0\1", 1), ("s" * 1000, 1)]:
        yield {"vault_id": str(VAULT), "source": source, "line": str(line), "id": str(line_id(VAULT, source, line))}


def audit_entries():
    empty = dict.fromkeys(["client_address", "claimed_host", "claimed_version", "decision", "refusal", "reason",
                           "case_id", "subject"])
    receipt = str(labelled_uuid("receipt"))
    asked = {"actor": "officer", "role": "pii_vault_unmask", "client_address": "192.0.2.7", "claimed_host": "desk-7",
             "claimed_version": "0.1.0", "case_id": "CASE-7", "subject": receipt}
    details = json.dumps({"fields": ["ip"], "rows": 2, "values": 2})
    entries = [
        {"at": 1741514400000000, "action": "init", "actor": "administrator", "role": "pii_vault_owner",
         "subject": str(VAULT), "details": '{"migrations" : 24, "made_token_key" : true}'},
        {"at": 1741514400000001, "action": "unmask", "decision": "allowed", "reason": "fraud", "details": details} | asked,
        {"at": 1741514400000002, "action": "unmask", "decision": "refused", "refusal": "alone_limit",
         "reason": "Gerät-設備", "details": details + " "} | asked,
        {"at": 1741514400000003, "action": "unmask_page", "reason": "", "details": "{}"} | asked | {"claimed_host": ""},
        {"at": -1, "action": "a word of a later version", "actor": "", "role": "none", "details": "[]"},
        {"at": 2**63 - 1, "action": "lookup", "actor": "\U0001f464" * 63, "role": "none", "details": "null"},
    ]
    before = bytes(32)
    for seq, entry in enumerate(entries, 1):
        entry = {"seq": seq} | empty | entry
        made = audit_bytes(VAULT, before, entry)
        after = hashlib.sha256(made).digest()
        yield {"vault_id": str(VAULT), "before": before.hex()} | entry | {"bytes": made.hex(), "hash": after.hex()}
        before = after


def audit_lists():
    rows = [("2025-03-09", labelled_uuid("row 1")), ("2025-03-09", labelled_uuid("row 2")),
            ("0001-01-01", labelled_uuid("row 3")), ("9999-12-31", labelled_uuid("row 4"))]
    for some in ([], rows[:1], rows[:2], rows[1::-1], rows):
        yield {"rows": [{"create_date": day, "event_id": str(event)} for day, event in some],
               "sha256": hashlib.sha256(list_bytes(some)).hexdigest()}


def encryption_contexts():
    for purpose, key_id in (("data", DATA_KEY_ID), ("token", TOKEN_KEY_ID), ("dead-letter", DEAD_KEY_ID)):
        yield {"vault_id": str(VAULT), "purpose": purpose, "key_id": str(key_id),
               "context": {"app": "pii-vault", "vault": str(VAULT), "purpose": purpose, "key-id": str(key_id)}}


SIGNING_KEY = ec.derive_private_key(int.from_bytes(labelled("signing key")), ec.SECP256R1())


def checkpoint_parts(vault, seq, head_hash, previous_hash, at) -> list[bytes]:
    return [b"pii-vault/v1/checkpoint", vault.bytes, struct.pack(">q", seq), head_hash, previous_hash, struct.pack(">q", at)]


def checkpoints():
    """Each follows the one before. RFC 6979 signatures, so that two runs write the same bytes."""
    public = SIGNING_KEY.public_key().public_bytes(serialization.Encoding.PEM,
                                                   serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    previous = bytes(32)
    for seq, at in ((1, 1741507200000000), (2, 1741507200500001), (1000, 1741507199000000), (2**63 - 1, -1)):
        head = labelled(f"head of entry {seq}")
        signed = lengthed(checkpoint_parts(VAULT, seq, head, previous, at))
        signature = SIGNING_KEY.sign(signed, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        copy = {"format": "pii-vault/v1/checkpoint", "vault": str(VAULT), "seq": seq, "head_hash": head.hex(),
                "previous_hash": previous.hex(), "at": at, "signing_key": "arn:aws:kms:eu-central-1:111122223333:key/test",
                "signature": b64(signature)}
        yield {"public_key": public, "signed_bytes": signed.hex(), "hash": hashlib.sha256(signed).hexdigest(),
               "name": f"{seq:020}.json", "copy": json.dumps(copy, separators=(",", ":")) + "\n"}
        previous = hashlib.sha256(signed).digest()


def refused_checkpoints():
    first, second = list(checkpoints())[:2]
    copy = json.loads(first["copy"])

    def entry(name, **changed):
        line = json.dumps(copy | changed, separators=(",", ":")) + "\n"
        return {"name": name, "public_key": first["public_key"], "copy": line}

    yield entry("another vault", vault=str(labelled_uuid("other vault id")))
    yield entry("another entry", seq=2)
    yield entry("another hash", head_hash=labelled("head of entry 2").hex())
    yield entry("another checkpoint before", previous_hash=labelled("head of entry 2").hex())
    yield entry("a microsecond later", at=copy["at"] + 1)
    yield entry("signature of another checkpoint", signature=json.loads(second["copy"])["signature"])
    raw = utils.decode_dss_signature(base64.b64decode(copy["signature"]))
    yield entry("signature that is not DER", signature=b64(b"".join(part.to_bytes(32) for part in raw)))
    yield entry("signature of zeros", signature=b64(bytes.fromhex("3006020100020100")))


def restored_details(last, lost_after, lost):
    names = ("seq", "head_hash", "previous_hash", "at", "signing_key", "signature")
    return {"last": last, "lost_after": lost_after, "checkpoint": lost and {name: lost[name] for name in names},
            "closed_receipts": 1, "closed_redrive_jobs": 0}


def restores():
    vector = list(checkpoints())[2]
    lost, link = json.loads(vector["copy"]), vector["hash"]
    for seq, last, lost_after in ((8, 7, None), (1001, 7, 7), (1001, 0, 0), (1001, 999, 7), (1001, 1000, 7), (1201, 1200, 7)):
        named = None if lost_after is None else lost
        yield {"vault_id": str(VAULT), "public_key": vector["public_key"], "seq": seq,
               "details": json.dumps(restored_details(last, lost_after, named)), "passed_over": seq - last - 1,
               "superseded": named and [lost_after + 1, lost["seq"]], "link": named and link}


def refused_restores():
    vector = list(checkpoints())[2]
    lost = json.loads(vector["copy"])

    def entry(name, seq, last, lost_after, named):
        return {"name": name, "vault_id": str(VAULT), "public_key": vector["public_key"], "seq": seq,
                "details": json.dumps(restored_details(last, lost_after, named))}

    yield entry("numbers passed over, and nothing lost", 9, 7, None, None)
    yield entry("a number that was signed", 1000, 7, 7, lost)
    yield entry("a number too far", 1002, 7, 7, lost)
    yield entry("lost after an entry that is not there", 1001, 7, 8, lost)
    yield entry("lost after no entry", 1001, 7, -1, lost)
    yield entry("lost after what was signed", 1201, 1200, 1000, lost)
    yield entry("lost after nowhere", 1001, 7, None, lost)
    yield entry("lost and not signed", 8, 7, 7, None)
    yield entry("another head", 1001, 7, 7, lost | {"head_hash": labelled("another head").hex()})
    yield entry("of another entry", 2001, 7, 7, lost | {"seq": 2000})


# --- checks of what this stands on ------------------------------------------------------------

# RFC 8452, appendix C.2: key, nonce, associated data, plaintext, result.
RFC8452_C2 = [
    ("01" + "00" * 31, "03" + "00" * 11, "", "", "07f5f4169bbf55a8400cd47ea6fd400f"),
    ("01" + "00" * 31, "03" + "00" * 11, "", "0100000000000000", "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"),
    ("01" + "00" * 31, "03" + "00" * 11, "01", "02" + "00" * 15 + "03" + "00" * 15,
     "07dad364bfc2b9da89116d7bef6daaaf6f255510aa654f920ac81b94e8bad365aea1bad12702e1965604374aab96dbbc"),
    ("01" + "00" * 31, "03" + "00" * 11, "01" + "00" * 15 + "02000000", "03" + "00" * 15 + "0400",
     "462401724b5ce6588d5a54aae5375513a075cfcdf5042112aa29685c912fc2056543"),
    ("bae8e37fc83441b16034566b7a806c46bb91c3c5aedb64a6c590bc84d1a5e269", "e4b47801afc0577e34699b9e", "4fbdc66f14",
     "671fdd", "0eaccb93da9bb81333aee0c785b240d319719d"),
    ("3c535de192eaed3822a2fbbe2ca9dfc88255e14a661b8aa82cc54236093bbc23", "688089e55540db1872504e1c",
     "734320ccc9d9bbbb19cb81b2af4ecbc3e72834321f7aa0f70b7282b4f33df23f167541",
     "ced532ce4159b035277d4dfbb7db62968b13cd4eec",
     "626660c26ea6612fb17ad91e8e767639edd6c9faee9d6c7029675b89eaf4ba1ded1a286594"),
]


def self_test():
    for case in RFC8452_C2:
        key, nonce, aad, plaintext, result = map(bytes.fromhex, case)
        assert AESGCMSIV(key).encrypt(nonce, plaintext, aad) == result, "AES-256-GCM-SIV is not RFC 8452's"
    # RFC 5869, A.3 (SHA-256, empty salt and info), the first 32 of its 42 bytes.
    okm = hkdf(bytes.fromhex("0b" * 22), "").hex()
    assert okm == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert event_id(uuid.NAMESPACE_DNS, "www.example.com") == uuid.UUID("2ed6657d-e927-568b-95e1-2665a8aea6a2")
    for case in refused_token_values():
        size = len(case["value"].encode())
        if case["field"] == "device_id":
            assert not 1 <= size <= 256 or "\0" in case["value"]
            continue
        try:
            assert size > 45 or "%" in case["value"] or not ipaddress.ip_address(case["value"]), case
        except ValueError:
            pass


def document() -> str:
    arrays = [hkdfs, tokens, refused_token_values, commitments, ratchet, values, refused_values, dead_letters,
              refused_dead_letters, event_ids, line_ids, encryption_contexts, audit_entries, audit_lists,
              checkpoints, refused_checkpoints, restores, refused_restores]
    names = {"hkdfs": "hkdf"}
    head = {"format": "pii-vault/v1",
            "comment": "Test keys: they are in this file for all to read and protect nothing. Nonces here follow from "
                       "labels, so that the file can be made again; a real nonce is random. Made by "
                       "tests/decoder/vectors.py from the format in keys/FORMAT.md."}
    return json.dumps(head | {names.get(f.__name__, f.__name__): list(f()) for f in arrays}, indent=2) + "\n"


def check_page(made: str):
    """Every hex string of 16 digits or more, every UUID, token and sealed value of the page is in the file."""
    page = (KEYS / "FORMAT.md").read_text()
    pattern = r"\b[0-9a-f]{16,}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|(?<![\w/+-])[\w+/-]{40,}={0,2}"
    return sorted({found for found in re.findall(pattern, page) if found not in made})


if __name__ == "__main__":
    self_test()
    made = document()
    if sys.argv[1:] == ["--check"]:
        if (KEYS / "vectors.json").read_text() != made:
            sys.exit("keys/vectors.json is not what this script writes. Run it without --check.")
        if unknown := check_page(made):
            sys.exit("keys/FORMAT.md shows values that keys/vectors.json does not hold: " + ", ".join(unknown))
    elif sys.argv[1:]:
        sys.exit("usage: vectors.py [--check]")
    else:
        (KEYS / "vectors.json").write_text(made)
