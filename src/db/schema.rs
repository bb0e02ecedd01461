//! The tables as diesel sees them: `diesel print-schema`, with the enums of [`super::enums`].

use diesel::table;

table! {
    pii_vault.vault (id) {
        id -> Uuid,
        active_slot -> crate::db::enums::sql::TokenSlot,
        created_at -> Timestamptz,
    }
}

table! {
    pii_vault.data_keys (id) {
        id -> Uuid,
        state -> crate::db::enums::sql::KeyState,
        wrapped_key -> Binary,
        kms_key -> Text,
        commitment -> Binary,
        max_step -> Integer,
        created_at -> Timestamptz,
    }
}

table! {
    pii_vault.dead_letter_keys (id) {
        id -> Uuid,
        state -> crate::db::enums::sql::KeyState,
        wrapped_key -> Binary,
        kms_key -> Text,
        commitment -> Binary,
        max_step -> Integer,
        created_at -> Timestamptz,
    }
}

table! {
    pii_vault.token_keys (id) {
        id -> Uuid,
        slot -> crate::db::enums::sql::TokenSlot,
        state -> crate::db::enums::sql::KeyState,
        wrapped_key -> Binary,
        kms_key -> Text,
        commitment -> Binary,
        created_at -> Timestamptz,
    }
}

table! {
    pii_vault.dead_letters (create_date, message_id) {
        create_date -> Date,
        message_id -> Uuid,
        reason -> crate::db::enums::sql::DeadLetterReason,
        member -> Nullable<crate::db::enums::sql::LoginMember>,
        size -> Integer,
        body_ciphertext -> Binary,
        dead_letter_key_id -> Uuid,
        received_at -> Timestamptz,
        redriven_at -> Nullable<Timestamptz>,
    }
}
