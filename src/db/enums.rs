//! The SQL enums and the domain types that they are.

use std::io::Write as _;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};

use crate::domain::{KeyState, Member, Reason, TokenSlot};

/// The SQL side: a marker type for each enum.
pub(super) mod sql {
    use diesel::query_builder::QueryId;
    use diesel::sql_types::SqlType;

    macro_rules! sql_type {
        ($($marker:ident = $name:literal),* $(,)?) => {$(
            #[derive(Clone, Copy, Debug, QueryId, SqlType)]
            #[diesel(postgres_type(name = $name, schema = "pii_vault"))]
            pub struct $marker;
        )*};
    }
    sql_type!(
        KeyState = "key_state",
        TokenSlot = "token_slot",
        DeadLetterReason = "dead_letter_reason",
        LoginMember = "login_member",
        KeyHold = "key_hold",
    );
}

/// A Rust enum that PostgreSQL knows by words.
pub(super) trait Words: Copy + PartialEq + 'static {
    const WORDS: &'static [(Self, &'static str)];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(value, _)| *value == self).map_or("", |(_, word)| word)
    }

    fn from_word(word: &[u8]) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| known.as_bytes() == word).map(|(value, _)| *value)
    }
}

macro_rules! sql_enum {
    ($rust:ty, $sql:ty, $proxy:ident, $words:expr) => {
        #[derive(AsExpression, FromSqlRow)]
        #[diesel(foreign_derive, sql_type = $sql)]
        #[expect(dead_code, reason = "foreign_derive reads the type out of this declaration")]
        struct $proxy($rust);

        impl Words for $rust {
            const WORDS: &'static [(Self, &'static str)] = $words;
        }

        impl FromSql<$sql, Pg> for $rust {
            fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
                Self::from_word(value.as_bytes()).ok_or_else(|| concat!("unknown ", stringify!($rust)).into())
            }
        }

        impl ToSql<$sql, Pg> for $rust {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                out.write_all(self.word().as_bytes())?;
                Ok(IsNull::No)
            }
        }
    };
}

sql_enum!(
    KeyState,
    sql::KeyState,
    KeyStateProxy,
    &[
        (Self::Pending, "pending"),
        (Self::Active, "active"),
        (Self::DecryptOnly, "decrypt-only"),
        (Self::Retired, "retired"),
    ]
);

sql_enum!(TokenSlot, sql::TokenSlot, TokenSlotProxy, &[(Self::A, "a"), (Self::B, "b")]);

sql_enum!(
    super::hold::Hold,
    sql::KeyHold,
    HoldProxy,
    &[
        (Self::Held, "held"),
        (Self::TokenKeysChanged, "token_keys_changed"),
        (Self::SealingKeyNotActive, "sealing_key_not_active"),
    ]
);

sql_enum!(Member, sql::LoginMember, MemberProxy, {
    const fn pair(member: Member) -> (Member, &'static str) {
        (member, member.key())
    }
    let [a, b, c, d, e, f] = Member::ALL;
    &[pair(a), pair(b), pair(c), pair(d), pair(e), pair(f)]
});

sql_enum!(Reason, sql::DeadLetterReason, ReasonProxy, {
    const fn pair(reason: Reason) -> (Reason, &'static str) {
        (reason, reason.code())
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l] = Reason::ALL;
    &[pair(a), pair(b), pair(c), pair(d), pair(e), pair(f), pair(g), pair(h), pair(i), pair(j), pair(k), pair(l)]
});
