use time::Date;

use crate::domain::{EventId, Field, KeyId, VaultId};

/// The version byte of everything sealed so far: the first of a sealed value, and a part of its AAD.
pub(super) const FORMAT_VERSION: u8 = 1;

/// Where a sealed value belongs. Moved to another row, column, key, day or user, it does not open.
#[derive(Clone, Copy, Debug)]
pub struct ValueBinding<'a> {
    /// The vault.
    pub vault: VaultId,
    /// Which field, hence which column of `login_events`.
    pub field: Field,
    /// The row's day.
    pub create_date: Date,
    /// The row's event.
    pub event: EventId,
    /// The row's user.
    pub user_id: &'a str,
    /// The data key that the row names.
    pub key: KeyId,
}

/// Where a sealed dead letter belongs.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetterBinding {
    /// The vault.
    pub vault: VaultId,
    /// The row's day.
    pub create_date: Date,
    /// The row's message.
    pub message: EventId,
    /// The dead-letter key that the row names.
    pub key: KeyId,
}

impl ValueBinding<'_> {
    /// The additional authenticated data: each part with its length before it, so that no two bindings share bytes.
    pub(super) fn aad(&self, step: u32) -> Vec<u8> {
        let mut aad = Aad::of_vault(self.vault);
        aad.part(b"login_events");
        aad.part(self.field.ciphertext_column().as_bytes());
        aad.date(self.create_date);
        aad.part(self.event.0.as_bytes());
        aad.part(self.user_id.as_bytes());
        aad.part(self.key.0.as_bytes());
        aad.part(&step.to_be_bytes());
        aad.0
    }
}

impl DeadLetterBinding {
    /// The additional authenticated data, likewise.
    pub(super) fn aad(&self, step: u32) -> Vec<u8> {
        let mut aad = Aad::of_vault(self.vault);
        aad.part(b"dead_letters");
        aad.part(b"body_ciphertext");
        aad.date(self.create_date);
        aad.part(self.message.0.as_bytes());
        aad.part(self.key.0.as_bytes());
        aad.part(&step.to_be_bytes());
        aad.0
    }
}

struct Aad(Vec<u8>);

impl Aad {
    fn of_vault(vault: VaultId) -> Self {
        let mut aad = Self(Vec::with_capacity(256));
        aad.part(vault.0.as_bytes());
        aad.part(&[FORMAT_VERSION]);
        aad
    }

    fn part(&mut self, bytes: &[u8]) {
        #[expect(clippy::expect_used, reason = "the longest part is a user id of 128 characters")]
        let length = u32::try_from(bytes.len()).expect("parts are short");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn date(&mut self, date: Date) {
        self.part(ascii_date(date).as_bytes());
    }
}

/// ASCII `YYYY-MM-DD`.
pub(super) fn ascii_date(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}
