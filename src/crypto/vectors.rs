//! Every vector of `keys/vectors.json`, which another implementation made from `keys/FORMAT.md`: what is written there
//! is what this layer does, byte for byte.

mod audit;
mod read;

use hkdf::Hkdf;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha2::Sha256;

use self::read::{FILE, array, base64, dead_letter_binding, field, hex, key, number, text, uuid, value_binding};
use super::checkpoint::{CheckpointKey, NO_CHECKPOINT, NotSigned, SignedCheckpoint};
use super::sealed::{encrypt, header_with_nonce};
use super::*;
use crate::domain::{ClientIp, DeviceId, EventId, Field, VaultId};

const JSON: &str = include_str!("../../keys/vectors.json");
const FORMAT_PAGE: &str = include_str!("../../keys/FORMAT.md");

/// How many vectors each array has, so that none is passed over.
const COUNTS: [(&str, usize); 18] = [
    ("hkdf", 6),
    ("tokens", 37),
    ("refused_token_values", 31),
    ("commitments", 4),
    ("ratchet", 8),
    ("values", 20),
    ("refused_values", 60),
    ("dead_letters", 8),
    ("refused_dead_letters", 14),
    ("event_ids", 15),
    ("line_ids", 9),
    ("audit_entries", 6),
    ("audit_lists", 5),
    ("checkpoints", 4),
    ("refused_checkpoints", 8),
    ("restores", 6),
    ("refused_restores", 10),
    // Checked where contexts are made, in the AWS layer.
    ("encryption_contexts", 3),
];

#[test]
fn every_array_is_known_and_as_long_as_it_was() {
    let arrays: Vec<_> = FILE.as_object().unwrap().iter().filter(|(_, value)| value.is_array()).collect();
    assert_eq!(arrays.len(), COUNTS.len());
    for (name, count) in COUNTS {
        assert_eq!(array(name).len(), count, "{name}");
    }
}

#[test]
fn hkdf() {
    for vector in array("hkdf") {
        let (key, info) = (hex(vector, "key"), text(vector, "info"));
        let (prk, hkdf) = Hkdf::<Sha256>::extract(None, &key);
        let mut okm = [0; 32];
        hkdf.expand(info.as_bytes(), &mut okm).unwrap();
        assert_eq!((prk.as_slice(), okm.as_slice()), (hex(vector, "prk").as_slice(), hex(vector, "okm").as_slice()));
        // RFC 5869's own test case has a key of another length; ours go through the function that is used.
        if let Ok(key) = SecretKey::from_unwrapped(key) {
            assert_eq!(key.derive(info).expose(), &okm, "{info}");
        } else {
            assert!(info.is_empty(), "{info}");
        }
    }
}

#[test]
fn tokens() {
    for vector in array("tokens") {
        let (tokenizer, value) = (Tokenizer::new(&key(vector, "token_key")), text(vector, "value").to_owned());
        let (canonical, token) = match field(vector) {
            Field::Ip => {
                let ip = ClientIp::parse(value).unwrap();
                (ip.canonical().to_vec(), tokenizer.ip(&ip))
            }
            Field::DeviceId => {
                let id = DeviceId::parse(value).unwrap();
                (id.text().as_bytes().to_vec(), tokenizer.device_id(&id))
            }
        };
        assert_eq!(canonical, hex(vector, "canonical"), "{vector}");
        assert_eq!(token.to_string(), text(vector, "token"), "{vector}");
    }
}

#[test]
fn refused_token_values() {
    for vector in array("refused_token_values") {
        let value = text(vector, "value").to_owned();
        let refused = match field(vector) {
            Field::Ip => ClientIp::parse(value).is_err(),
            Field::DeviceId => DeviceId::parse(value).is_err(),
        };
        assert!(refused, "{vector}");
    }
}

#[test]
fn commitments() {
    for vector in array("commitments") {
        assert_eq!(Commitment::to(&key(vector, "key")).as_bytes(), hex(vector, "commitment"), "{vector}");
    }
}

#[test]
fn ratchet() {
    for vector in array("ratchet") {
        assert_step(vector, &ratchet_at(vector, "data_key"));
    }
}

#[test]
fn values() {
    for vector in array("values") {
        let (binding, field, value) = (value_binding(vector), field(vector), text(vector, "text"));
        let ratchet = ratchet_at(vector, "key");
        assert_step(vector, &ratchet);
        assert_eq!(text(vector, "column"), field.ciphertext_column());
        let mut block = Vec::new();
        text_block::append(&mut block, field, value).unwrap();
        assert_eq!(block, hex(vector, "plaintext"), "{vector}");
        let aad = binding.aad(ratchet.step());
        assert_eq!(aad, hex(vector, "aad"), "{vector}");
        let made = seal(&ratchet.sealing_key(), vector, &aad, &block);
        assert_eq!(made, base64(vector, "sealed"), "{vector}");
        let parts = ["ciphertext", "tag"].map(|part| hex(vector, part)).concat();
        assert!(made.ends_with(&parts), "{vector}");
        assert_eq!(opened(open_value(&mut opener(vector).unwrap(), &binding, &made)), Ok(value.to_owned()), "{vector}");
        // The way that is used, whose nonce is its own.
        let used = seal_value(&ratchet.sealing_key(), &binding, value).unwrap();
        let again = open_value(&mut opener(vector).unwrap(), &binding, used.as_bytes());
        assert_eq!((used.as_bytes().len(), opened(again)), (made.len(), Ok(value.to_owned())), "{vector}");
    }
}

#[test]
fn refused_values() {
    for vector in array("refused_values") {
        let sealed = base64(vector, "sealed");
        let error = opener(vector).map(|mut opener| opened(open_value(&mut opener, &value_binding(vector), &sealed)));
        assert_refused(vector, &sealed, error);
    }
}

#[test]
fn dead_letters() {
    for vector in array("dead_letters") {
        let (binding, body) = (dead_letter_binding(vector), text(vector, "body"));
        let ratchet = ratchet_at(vector, "key");
        assert_eq!(ratchet.secrets().1.expose().as_slice(), hex(vector, "sealing_key"), "{vector}");
        let aad = binding.aad(ratchet.step());
        assert_eq!(aad, hex(vector, "aad"), "{vector}");
        let made = seal(&ratchet.sealing_key(), vector, &aad, body.as_bytes());
        assert_eq!(made, base64(vector, "sealed"), "{vector}");
        let used = seal_dead_letter(&ratchet.sealing_key(), &binding, body).unwrap();
        for sealed in [made.as_slice(), used.as_bytes()] {
            let open = open_dead_letter(&mut opener(vector).unwrap(), &binding, sealed);
            assert_eq!((sealed.len(), opened(open)), (made.len(), Ok(body.to_owned())), "{vector}");
        }
    }
}

#[test]
fn refused_dead_letters() {
    for vector in array("refused_dead_letters") {
        let sealed = base64(vector, "sealed");
        let binding = dead_letter_binding(vector);
        let error = opener(vector).map(|mut opener| opened(open_dead_letter(&mut opener, &binding, &sealed)));
        assert_refused(vector, &sealed, error);
    }
}

#[test]
fn event_ids() {
    for vector in array("event_ids") {
        let vault = VaultId(uuid(vector, "vault_id"));
        assert_eq!(EventId::of_message(vault, text(vector, "sqs_message_id")).0, uuid(vector, "id"), "{vector}");
    }
}

#[test]
fn line_ids() {
    for vector in array("line_ids") {
        let (vault, line) = (VaultId(uuid(vector, "vault_id")), text(vector, "line").parse().unwrap());
        assert_eq!(EventId::of_line(vault, text(vector, "source"), line).0, uuid(vector, "id"), "{vector}");
    }
}

#[test]
fn checkpoints() {
    let mut previous = NO_CHECKPOINT;
    for vector in array("checkpoints") {
        let signed = SignedCheckpoint::from_copy(text(vector, "copy").as_bytes()).unwrap();
        assert_eq!(signed.checkpoint.signed_bytes(), hex(vector, "signed_bytes"), "{vector}");
        assert_eq!(signed.checkpoint.hash().as_slice(), hex(vector, "hash"), "{vector}");
        assert_eq!(signed.to_copy(), text(vector, "copy"));
        assert_eq!(SignedCheckpoint::file_name(signed.checkpoint.seq), text(vector, "name"));
        assert_eq!(signed.checkpoint.previous_hash, previous);
        let key = CheckpointKey::from_pem(text(vector, "public_key")).unwrap();
        assert_eq!(key.to_pem(), text(vector, "public_key"));
        assert_eq!(signed.verify(&key), Ok(()), "{vector}");
        previous = signed.checkpoint.hash();
    }
}

#[test]
fn refused_checkpoints() {
    for vector in array("refused_checkpoints") {
        let signed = SignedCheckpoint::from_copy(text(vector, "copy").as_bytes()).unwrap();
        let key = CheckpointKey::from_pem(text(vector, "public_key")).unwrap();
        assert_eq!(signed.verify(&key), Err(NotSigned), "{vector}");
    }
}

#[test]
fn the_page_shows_no_bytes_that_are_no_vector() {
    let is_long = |run: &&str| run.len() >= 16;
    let hex = FORMAT_PAGE.split(|c: char| !matches!(c, '0'..='9' | 'a'..='f')).filter(is_long);
    let base64 = FORMAT_PAGE.split(|c: char| !c.is_ascii_alphanumeric() && !"+/-_".contains(c));
    let base64 = base64.filter(|run| run.len() > 40 && run.contains(|c: char| c.is_ascii_alphanumeric()));
    let (hex, base64): (Vec<_>, Vec<_>) = (hex.collect(), base64.collect());
    assert!(hex.len() >= 20 && base64.len() >= 2, "{} and {}", hex.len(), base64.len());
    for run in hex.into_iter().chain(base64) {
        assert!(JSON.contains(run), "{run}");
    }
}

fn opener(vector: &Value) -> Result<Opener, CommitmentMismatch> {
    Opener::new(key(vector, "key"), &hex(vector, "commitment"), number(vector, "max_step"))
}

fn opened(result: Result<SecretString, OpenError>) -> Result<String, OpenError> {
    result.map(|text| text.expose_secret().to_owned())
}

fn ratchet_at(vector: &Value, key_name: &str) -> Ratchet {
    let mut ratchet = Ratchet::new(key(vector, key_name));
    ratchet.advance_to(number(vector, "step"));
    ratchet
}

fn assert_step(vector: &Value, ratchet: &Ratchet) {
    let (step, sealing) = ratchet.secrets();
    assert_eq!(step.expose().as_slice(), hex(vector, "step_key"), "{vector}");
    assert_eq!(sealing.expose().as_slice(), hex(vector, "sealing_key"), "{vector}");
}

/// Seals with the vector's nonce, where real ones are random.
fn seal(key: &SealingKey, vector: &Value, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let nonce = hex(vector, "nonce").try_into().unwrap();
    let mut out = header_with_nonce(key.step, nonce, 0);
    out.extend_from_slice(plaintext);
    encrypt(key, aad, out).as_bytes().to_vec()
}

/// The page tells apart more than [`OpenError`] does: a size that no value of its column has is met where the tag or
/// the plaintext is.
fn assert_refused(vector: &Value, sealed: &[u8], result: Result<Result<String, OpenError>, CommitmentMismatch>) {
    let resealed = vector.get("plaintext").is_some_and(Value::is_string);
    let expected = match text(vector, "error") {
        "commitment" => Err(CommitmentMismatch),
        "version" => Ok(Err(OpenError::UnknownVersion)),
        "step" => Ok(Err(OpenError::StepAboveMaximum)),
        "seal" => Ok(Err(OpenError::NotAuthentic)),
        "padding" | "text" => Ok(Err(OpenError::MalformedPlaintext)),
        "size" if sealed.len() < 33 => Ok(Err(OpenError::TooShort)),
        "size" if resealed => Ok(Err(OpenError::MalformedPlaintext)),
        "size" => Ok(Err(OpenError::NotAuthentic)),
        other => panic!("an error that the page does not name: {other}"),
    };
    assert_eq!(result, expected, "{vector}");
}
