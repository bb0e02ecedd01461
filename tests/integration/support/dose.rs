//! How much of a heavy proof is run, and by which numbers.

/// Whether the full dose was asked for.
pub(crate) fn soak() -> bool {
    std::env::var_os("PII_VAULT_SOAK").is_some()
}

/// Numbers from a seed (splitmix64): of `PII_VAULT_TEST_SEED`, or a new one each time. A test that fails shows it; with it,
/// the same is done once more, as far as it is not time that was random.
pub(crate) struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    pub(crate) fn new() -> Self {
        let given = std::env::var("PII_VAULT_TEST_SEED").ok().map(|seed| seed.parse().expect("a number"));
        let seed = given.unwrap_or_else(|| getrandom::u64().expect("randomness"));
        Self { seed, state: seed }
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).expect("64 bits")).expect("below the end")
    }
}

impl Drop for Chance {
    #[expect(clippy::print_stderr, reason = "for who looks at the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("once more with the same numbers: PII_VAULT_TEST_SEED={}", self.seed);
        }
    }
}
