"""moto's server, with a KMS that does as AWS documents it where moto leaves it out.

RotateKeyOnDemand makes new material, which wraps from then on; what older material wrapped still unwraps, and ReEncrypt
tells both. A KMS key that is disabled or about to be deleted neither wraps nor unwraps. ReEncrypt refuses what another
KMS key wrapped than the one that the caller names. Arguments: those of moto_server.
"""

import hashlib
import json
from types import SimpleNamespace

from moto.core.exceptions import JsonRESTError
from moto.kms import models, utils
from moto.kms.exceptions import InvalidCiphertextException
from moto.kms.models import KmsBackend
from moto.kms.responses import KmsResponse
from moto.server import main

moto_rotate, moto_encrypt, moto_decrypt = KmsBackend.rotate_key_on_demand, KmsBackend.encrypt, utils.decrypt
moto_re_encrypt = KmsResponse.re_encrypt


def rotate_key_on_demand(self, key_id):
    key = self.keys[self.get_key_id(key_id)]
    key.older = [SimpleNamespace(key_material=key.key_material), *older(key)]
    key.key_material = utils.generate_master_key()
    return moto_rotate(self, key_id)


def encrypt(self, key_id, plaintext, encryption_context):
    check_usable(self.keys.get(self.any_id_to_key_id(key_id)))
    return moto_encrypt(self, key_id, plaintext, encryption_context)


def decrypt(master_keys, ciphertext_blob, encryption_context):
    key = master_keys.get(wrapped_by(ciphertext_blob))
    check_usable(key)
    if key is None:
        return moto_decrypt(master_keys, ciphertext_blob, encryption_context)
    plaintext, _ = unwrap(key, ciphertext_blob, encryption_context)
    return plaintext, key.id


def re_encrypt(self):
    blob, context = self._get_param("CiphertextBlob"), self._get_param("SourceEncryptionContext", {})
    keys, named = self.kms_backend.keys, self._get_param("SourceKeyId")
    if named and wrapped_by(blob) in keys and self.kms_backend.any_id_to_key_id(named) != wrapped_by(blob):
        raise JsonRESTError("IncorrectKeyException", "The key ID in the request does not identify a CMK that can decrypt")
    answer = json.loads(moto_re_encrypt(self))
    _, before = unwrap(keys[wrapped_by(blob)], blob, context)
    now = keys[self.kms_backend.any_id_to_key_id(answer["KeyId"])]
    answer |= {"SourceKeyMaterialId": material_id(before), "DestinationKeyMaterialId": material_id(now)}
    return json.dumps(answer)


def older(key):
    """Its materials from before, the latest first."""
    return getattr(key, "older", [])


def unwrap(key, blob, context):
    """The plaintext, and the material that had wrapped it."""
    for material in [key, *older(key)]:
        try:
            return moto_decrypt({key.id: material}, blob, context)[0], material
        except InvalidCiphertextException:
            pass
    raise InvalidCiphertextException()


def wrapped_by(blob):
    """The id of the KMS key, by the head of moto's form."""
    return bytes(blob[: utils.KEY_ID_LEN]).decode(errors="replace")


def material_id(material):
    return hashlib.sha256(material.key_material).hexdigest()


def check_usable(key):
    state = key.key_state if key else "Enabled"
    if state == "Disabled":
        raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
    if state != "Enabled":
        raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")


KmsBackend.rotate_key_on_demand, KmsBackend.encrypt, models.decrypt = rotate_key_on_demand, encrypt, decrypt
KmsResponse.re_encrypt = re_encrypt
main()
