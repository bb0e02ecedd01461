//! The SQL enums and the Rust types that they are.

use crate::domain::audit::Decision;
use crate::domain::{
    AccessRefusal, AccessState, CheckpointPolicy, Field, KeyState, Member, Purpose, Reason, RotationFailure,
    RotationKind, RotationStep, TokenSlot, Verdict,
};

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
        MonthRepair = "month_repair",
        RedriveOutcome = "redrive_outcome",
        SealedField = "sealed_field",
        AccessRefusal = "access_refusal",
        AccessState = "access_state",
        AccessVerdict = "access_verdict",
        CheckpointPolicy = "checkpoint_policy",
        OpenFailure = "open_failure",
        AuditDecision = "audit_decision",
        KeyPurpose = "key_purpose",
        RotationKind = "rotation_kind",
        RotationStep = "rotation_step",
        RotationFailure = "rotation_failure",
        KmsKeyRetirement = "kms_key_retirement",
        SlotChange = "slot_change",
        TokenKeyRetirement = "token_key_retirement",
    );
}

/// Maps a Rust enum to an SQL enum, by its values and the word of each.
macro_rules! sql_enum {
    ($rust:ident = $sql:ident, $proxy:ident, $word:expr) => {
        #[derive(::diesel::expression::AsExpression, ::diesel::deserialize::FromSqlRow)]
        #[diesel(foreign_derive, sql_type = crate::db::enums::sql::$sql)]
        #[expect(dead_code, reason = "foreign_derive reads the type out of this declaration")]
        struct $proxy($rust);

        impl ::diesel::deserialize::FromSql<crate::db::enums::sql::$sql, ::diesel::pg::Pg> for $rust {
            fn from_sql(value: ::diesel::pg::PgValue<'_>) -> ::diesel::deserialize::Result<Self> {
                $rust::ALL
                    .into_iter()
                    .find(|known| $word(*known).as_bytes() == value.as_bytes())
                    .ok_or_else(|| concat!("unknown ", stringify!($rust)).into())
            }
        }

        impl ::diesel::serialize::ToSql<crate::db::enums::sql::$sql, ::diesel::pg::Pg> for $rust {
            fn to_sql<'b>(
                &'b self,
                out: &mut ::diesel::serialize::Output<'b, '_, ::diesel::pg::Pg>,
            ) -> ::diesel::serialize::Result {
                std::io::Write::write_all(out, $word(*self).as_bytes())?;
                Ok(::diesel::serialize::IsNull::No)
            }
        }
    };
}
pub(super) use sql_enum;

sql_enum!(KeyState = KeyState, KeyStateProxy, KeyState::name);
sql_enum!(TokenSlot = TokenSlot, TokenSlotProxy, TokenSlot::name);
sql_enum!(Member = LoginMember, MemberProxy, Member::key);
sql_enum!(Decision = AuditDecision, DecisionProxy, Decision::name);
sql_enum!(Field = SealedField, FieldProxy, Field::name);
sql_enum!(AccessRefusal = AccessRefusal, AccessRefusalProxy, AccessRefusal::code);
sql_enum!(AccessState = AccessState, AccessStateProxy, AccessState::name);
sql_enum!(Verdict = AccessVerdict, VerdictProxy, Verdict::name);
sql_enum!(CheckpointPolicy = CheckpointPolicy, CheckpointPolicyProxy, CheckpointPolicy::name);
sql_enum!(Reason = DeadLetterReason, ReasonProxy, Reason::code);
sql_enum!(Purpose = KeyPurpose, PurposeProxy, Purpose::name);
sql_enum!(RotationKind = RotationKind, RotationKindProxy, RotationKind::name);
sql_enum!(RotationStep = RotationStep, RotationStepProxy, RotationStep::name);
sql_enum!(RotationFailure = RotationFailure, RotationFailureProxy, RotationFailure::name);
