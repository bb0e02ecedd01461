//! Exact output: help, usage errors, and what is refused before anything is connected to.
//!
//! `TRYCMD=overwrite cargo test --test cli` writes what the binary prints into the cases; read the diff.

#[test]
fn exact_output() {
    trycmd::TestCases::new()
        .register_bin("pii-vault", trycmd::schema::Bin::Path(env!("CARGO_BIN_EXE_pii-vault").into()))
        .env("DATABASE_URL", "")
        .env("PII_VAULT_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/123456789012/logins")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .case("tests/cli/*.trycmd");
}
