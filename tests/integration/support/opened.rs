//! What is stored, opened as only somebody with the KMS keys can. Uses the library's own crypto; that it agrees with
//! the format is for the vectors to show.

use std::collections::{BTreeMap, HashMap};

use ::time::Date;
use pii_vault::aws::{EncryptionContext, KeyWrapper as _, Kms, KmsKeys};
use pii_vault::crypto::{DeadLetterBinding, Opener, ValueBinding, open_dead_letter, open_value};
use pii_vault::domain::{EventId, Field, KeyId, Purpose, VaultId};
use secrecy::ExposeSecret as _;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::World;

#[derive(Debug)]
pub(crate) struct OpenedEvent {
    pub(crate) user_id: String,
    pub(crate) app_version: String,
    pub(crate) device_type: String,
    pub(crate) locale: Option<String>,
    pub(crate) ip: String,
    pub(crate) device_id: String,
    pub(crate) ip_token: String,
    pub(crate) device_id_token: String,
}

#[derive(Debug)]
pub(crate) struct OpenedDeadLetter {
    pub(crate) reason: String,
    pub(crate) member: Option<String>,
    pub(crate) body: String,
}

impl World {
    pub(crate) async fn opened_events(&self) -> BTreeMap<Uuid, OpenedEvent> {
        self.opened_where("true", &[]).await
    }

    /// Those alone, where there are many.
    pub(crate) async fn opened_events_of(&self, events: &[Uuid]) -> BTreeMap<Uuid, OpenedEvent> {
        self.opened_where("event_id = ANY ($1)", &[&events]).await
    }

    async fn opened_where(&self, which: &str, values: &[&(dyn ToSql + Sync)]) -> BTreeMap<Uuid, OpenedEvent> {
        let vault = self.vault_id().await;
        let mut openers = self.openers(vault, Purpose::Data, "data_keys").await;
        let sql = format!(
            "SELECT create_date::text, event_id, user_id, app_version, device_type, locale, ip_ciphertext, \
             device_id_ciphertext, data_key_id, \
             CASE v.active_slot WHEN 'a' THEN ip_token_a ELSE ip_token_b END::text, \
             CASE v.active_slot WHEN 'a' THEN device_id_token_a ELSE device_id_token_b END::text \
             FROM pii_vault.login_events, pii_vault.vault AS v WHERE {which}"
        );
        let rows = self.sql.query(&sql, values).await.expect("rows");
        rows.iter()
            .map(|row| {
                let (event, user_id, key): (Uuid, String, Uuid) = (row.get(1), row.get(2), row.get(8));
                let mut open = |field, column: usize| {
                    let binding = ValueBinding {
                        vault,
                        field,
                        create_date: day(row),
                        event: EventId(event),
                        user_id: &user_id,
                        key: KeyId(key),
                    };
                    let opener = openers.get_mut(&key).expect("the row's key is stored");
                    open_value(opener, &binding, row.get(column)).expect("it opens").expose_secret().to_owned()
                };
                let (ip, device_id) = (open(Field::Ip, 6), open(Field::DeviceId, 7));
                let opened = OpenedEvent {
                    app_version: row.get(3),
                    device_type: row.get(4),
                    locale: row.get(5),
                    ip,
                    device_id,
                    ip_token: row.get(9),
                    device_id_token: row.get(10),
                    user_id,
                };
                (event, opened)
            })
            .collect()
    }

    pub(crate) async fn opened_dead_letters(&self) -> BTreeMap<Uuid, OpenedDeadLetter> {
        let vault = self.vault_id().await;
        let mut openers = self.openers(vault, Purpose::DeadLetter, "dead_letter_keys").await;
        let rows = self
            .sql
            .query(
                "SELECT create_date::text, message_id, reason::text, member::text, body_ciphertext, \
                 dead_letter_key_id FROM pii_vault.dead_letters",
                &[],
            )
            .await
            .expect("rows");
        rows.iter()
            .map(|row| {
                let (message, key): (Uuid, Uuid) = (row.get(1), row.get(5));
                let binding =
                    DeadLetterBinding { vault, create_date: day(row), message: EventId(message), key: KeyId(key) };
                let opener = openers.get_mut(&key).expect("the row's key is stored");
                let body = open_dead_letter(opener, &binding, row.get(4)).expect("it opens");
                let opened =
                    OpenedDeadLetter { reason: row.get(2), member: row.get(3), body: body.expose_secret().to_owned() };
                (message, opened)
            })
            .collect()
    }

    pub(crate) async fn vault_id(&self) -> VaultId {
        VaultId(self.sql.query_one("SELECT id FROM pii_vault.vault", &[]).await.expect("a vault").get(0))
    }

    pub(crate) fn kms_keys(&self) -> KmsKeys {
        KmsKeys {
            data: self.kms_key("data"),
            token: self.kms_key("token"),
            dead_letter: self.kms_key("dead-letter"),
            signing: self.kms_key("signing"),
        }
    }

    pub(crate) async fn kms(&self) -> Kms {
        Kms::new(&self.kms_config().await, self.kms_keys())
    }

    async fn openers(&self, vault: VaultId, purpose: Purpose, table: &str) -> HashMap<Uuid, Opener> {
        let kms = self.kms().await;
        let sql = format!("SELECT id, wrapped_key, kms_key, commitment, max_step FROM pii_vault.{table}");
        let mut openers = HashMap::new();
        for row in self.sql.query(&sql, &[]).await.expect("keys") {
            let (id, max_step): (Uuid, i32) = (row.get(0), row.get(4));
            let context = EncryptionContext { vault, purpose, key: KeyId(id) };
            let key = kms.unwrap(row.get(2), row.get(1), context).await.expect("KMS unwraps it");
            let max_step = max_step.try_into().expect("not negative");
            openers.insert(id, Opener::new(key, row.get(3), max_step).expect("it is the committed key"));
        }
        openers
    }
}

fn day(row: &Row) -> Date {
    let text: String = row.get(0);
    Date::parse(&text, ::time::macros::format_description!("[year]-[month]-[day]")).expect("a date")
}
