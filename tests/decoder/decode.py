#!/usr/bin/env python3
"""Opens sealed values. Written from keys/FORMAT.md alone; shares no code with pii-vault or vectors.py.

    decode.py --check keys/vectors.json  checks every vector; exits 1 if one fails
    decode.py --log                      reads entries of the audit log, all of them, a JSON object a line: the columns,
        vault_id, at in microseconds, details as text, hash in hex. Exits 1 at the first that does not follow.
    decode.py                            reads JSON objects, one a line: vault_id, key (unwrapped, hex), key_id,
        commitment (hex), max_step, table, column, create_date, event_id and user_id (login_events) or message_id
        (dead_letters), sealed (base64). Prints a JSON string a line, or {"error": ...}; exits 1 if one failed.

Needs cryptography >= 42, on OpenSSL 3.2 or later (AES-GCM-SIV).
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import sys
import uuid

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

COMMIT, ENC = "pii-vault/v1/commit", "pii-vault/v1/enc"
LONGEST = {"ip_ciphertext": 45, "device_id_ciphertext": 256}
ENTRY = "pii-vault/v1/audit-entry"
COLUMNS = {"login_events": LONGEST, "dead_letters": ["body_ciphertext"]}
SIZES = {"ip_ciphertext": [81], "device_id_ciphertext": range(65, 322, 32), "body_ciphertext": range(33, 1 << 30)}


class Refused(Exception):
    """Its text is the code."""


def refuse_if(condition, code):
    if condition:
        raise Refused(code)


def hkdf(key, info):
    return hmac.digest(hmac.digest(bytes(32), key, "sha256"), info.encode() + b"\x01", "sha256")


def step_key(key, step):
    for _ in range(step + 1):
        key = hkdf(key, "pii-vault/v1/step")
    return key


def associated_data(row, step):
    event = row["table"] == "login_events"
    parts = [uuid.UUID(row["vault_id"]).bytes, b"\x01", row["table"].encode(), row["column"].encode()]
    parts += [row["create_date"].encode(), uuid.UUID(row["event_id" if event else "message_id"]).bytes]
    parts += ([row["user_id"].encode()] if event else []) + [uuid.UUID(row["key_id"]).bytes, step]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def unpad(column, plaintext):
    end = 2 + (length := int.from_bytes(plaintext[:2], "big"))
    refuse_if(end > len(plaintext) or any(plaintext[end:]), "padding")
    refuse_if(column == "device_id_ciphertext" and len(plaintext) != (end + 31) // 32 * 32, "padding")
    refuse_if(not 1 <= length <= LONGEST[column], "text")
    return plaintext[2:end]


def open_sealed(row):
    """The text of one sealed value; Refused if anything about it is not as it must be."""
    refuse_if(row["column"] not in COLUMNS.get(row["table"], []), "input")
    key, sealed = bytes.fromhex(row["key"]), base64.b64decode(row["sealed"], validate=True)
    refuse_if(not hmac.compare_digest(hkdf(key, COMMIT), bytes.fromhex(row["commitment"])), "commitment")
    refuse_if(not sealed, "size")
    refuse_if(sealed[0] != 1, "version")
    refuse_if(len(sealed) not in SIZES[row["column"]], "size")
    step, nonce = sealed[1:5], sealed[5:17]
    refuse_if(int.from_bytes(step, "big") > row["max_step"], "step")
    sealing_key = hkdf(step_key(key, int.from_bytes(step, "big")), ENC)
    try:
        plaintext = AESGCMSIV(sealing_key).decrypt(nonce, sealed[17:], associated_data(row, step))
        return (unpad(row["column"], plaintext) if row["column"] in LONGEST else plaintext).decode()
    except InvalidTag:
        raise Refused("seal") from None
    except UnicodeDecodeError:
        raise Refused("text") from None


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except Refused as refused:
        return {"error": str(refused)}
    except (KeyError, TypeError, ValueError, AttributeError):  # their texts may quote the input
        return {"error": "input"}


def canonical(field, value):
    refuse_if(not 1 <= len(value.encode()) <= LONGEST[field + "_ciphertext"], "input")
    refuse_if({"ip": "%", "device_id": "\0"}[field] in value, "input")
    if field == "device_id":
        return value.encode()
    packed = ipaddress.ip_address(value).packed
    return packed[12:] if packed[:12] == bytes(10) + b"\xff\xff" else packed


def token(key, field, value):
    field_key = hkdf(key, "pii-vault/v1/token/" + field)
    return base64.urlsafe_b64encode(hmac.digest(field_key, canonical(field, value), "sha256")).decode().rstrip("=")


def id_of(vault_id, message_id):
    if re.fullmatch("[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", message_id):
        return message_id.lower()
    name = uuid.UUID(vault_id).bytes + message_id.encode()
    return str(uuid.UUID(bytes=hashlib.sha1(name).digest()[:16], version=5))


def line_id_of(vault_id, source, line):
    name = b"\xffpii-vault/v1/line" + len(source.encode()).to_bytes(4, "big") + source.encode() + line.to_bytes(8, "big")
    return str(uuid.UUID(bytes=hashlib.sha1(uuid.UUID(vault_id).bytes + name).digest()[:16], version=5))


def audit_hash(row, before):
    names = ["action", "actor", "role", "client_address", "claimed_host", "claimed_version", "decision", "refusal"]
    parts = [b"pii-vault/v1/audit", uuid.UUID(row["vault_id"]).bytes, before]
    parts += [row[name].to_bytes(8, "big", signed=True) for name in ("seq", "at")]
    parts += [None if row[name] is None else row[name].encode() for name in names + ["reason", "case_id"]]
    parts += [row["subject"] and uuid.UUID(row["subject"]).bytes, row["details"].encode()]
    shown = ((b"\xff" * 4 if part is None else len(part).to_bytes(4, "big") + part) for part in parts)
    return hashlib.sha256(b"".join(shown)).digest()


def list_hash(rows):
    parts = [b"pii-vault/v1/list"]
    for row in rows:
        parts += [row["create_date"].encode(), uuid.UUID(row["event_id"]).bytes]
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).hexdigest()


def checkpoint_bytes(vault_id, checkpoint):
    parts = [b"pii-vault/v1/checkpoint", uuid.UUID(vault_id).bytes, checkpoint["seq"].to_bytes(8, "big", signed=True)]
    parts += [bytes.fromhex(checkpoint[name]) for name in ("head_hash", "previous_hash")]
    parts += [checkpoint["at"].to_bytes(8, "big", signed=True)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def verify(public_key, signature, message):
    try:
        key = serialization.load_pem_public_key(public_key.encode())
        key.verify(base64.b64decode(signature, validate=True), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Refused("signature") from None


def restored(row, public_key=None):
    """Of an entry of the action restored: the entry before it, what is superseded, what the next checkpoint names."""
    said = json.loads(row["details"])
    last, after, lost = said["last"], said["lost_after"], said["checkpoint"]
    refuse_if((after is None) != (lost is None) or row["seq"] != max(last, lost["seq"] if lost else 0) + 1, "numbers")
    if lost is None:
        return last, None, None
    refuse_if(not 0 <= after <= last or after >= lost["seq"], "numbers")
    signed = checkpoint_bytes(row["vault_id"], lost)
    if public_key:
        verify(public_key, lost["signature"], signed)
    return last, [after + 1, lost["seq"]], hashlib.sha256(signed).hexdigest()


def check_log(lines):
    before, seq = bytes(32), 0
    rows = map(json.loads, lines)
    entries = (row for row in rows if row.pop("format", ENTRY) == ENTRY)
    for row in entries:
        before = audit_hash(row, before)
        last = outcome(lambda: restored(row)[0]) if row["action"] == "restored" else row["seq"] - 1
        if last != seq or row["hash"] != before.hex():
            sys.exit(f"entry {row['seq']} does not follow from those before it")
        seq = row["seq"]
    print(seq, before.hex())


def failures(vectors):
    raw = bytes.fromhex
    checks = {
        "hkdf": lambda v: hkdf(raw(v["key"]), v["info"]).hex() == v["okm"],
        "tokens": lambda v: canonical(v["field"], v["value"]).hex() == v["canonical"]
        and token(raw(v["token_key"]), v["field"], v["value"]) == v["token"],
        "refused_token_values": lambda v: outcome(canonical, v["field"], v["value"]) == {"error": "input"},
        "commitments": lambda v: hkdf(raw(v["key"]), COMMIT).hex() == v["commitment"],
        "ratchet": lambda v: (at := step_key(raw(v["data_key"]), v["step"])).hex() == v["step_key"]
        and hkdf(at, ENC).hex() == v["sealing_key"],
        "values": lambda v: outcome(open_sealed, v) == v["text"],
        "dead_letters": lambda v: outcome(open_sealed, v) == v["body"],
        "refused_values": (refused := lambda v: outcome(open_sealed, v) == {"error": v["error"]}),
        "refused_dead_letters": refused,
        "event_ids": lambda v: id_of(v["vault_id"], v["sqs_message_id"]) == v["id"],
        "audit_entries": lambda v: audit_hash(v, raw(v["before"])).hex() == v["hash"],
        "audit_lists": lambda v: list_hash(v["rows"]) == v["sha256"],
        "restores": lambda v: restored(v, v["public_key"]) == (v["seq"] - 1 - v["passed_over"], v["superseded"], v["link"]),
        "refused_restores": lambda v: isinstance(outcome(restored, v, v["public_key"]), dict),
        "line_ids": lambda v: line_id_of(v["vault_id"], v["source"], int(v["line"])) == v["id"],
    }
    assert vectors["format"] == "pii-vault/v1" and all(vectors[array] for array in checks)
    return [f"{array}: {entry}" for array, holds in checks.items() for entry in vectors[array] if not holds(entry)]


def main(arguments):
    if arguments[:1] == ["--check"] and len(arguments) == 2:
        with open(arguments[1], encoding="utf-8") as file:
            sys.exit("\n".join(failures(json.load(file))) or 0)
    if arguments == ["--log"]:
        return check_log(sys.stdin)
    if arguments:
        sys.exit(__doc__)
    status = 0
    for line in sys.stdin:
        print(json.dumps(result := outcome(lambda: open_sealed(json.loads(line)))), flush=True)
        status = status if isinstance(result, str) else 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
