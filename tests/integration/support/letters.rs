//! Dead letters that pass today. The parser refuses the same bodies today as yesterday, so these never met one: they
//! are sealed and stored by the library as ingestion does it, under a reason that a stricter version would have given.

use pii_vault::aws::{EncryptionContext, KeyWrapper as _};
use pii_vault::crypto::{Commitment, DeadLetterBinding, Ratchet, seal_dead_letter};
use pii_vault::db::dead_letters::{self, NewDeadLetter};
use pii_vault::db::sealing_keys::{self, NewSealingKey, Seals};
use pii_vault::db::{Role, Server};
use pii_vault::domain::{EventId, KeyId, Purpose, Reason};
use time::Date;
use time::macros::date;
use uuid::Uuid;

use super::{Who, World};

const DAY: Date = date!(2026 - 03 - 31);

impl World {
    /// Sets bodies aside as `invalid_json` of 2026-03-31, under one new dead-letter key, and returns their message ids.
    pub(crate) async fn set_aside<S: Into<String>>(&self, bodies: impl IntoIterator<Item = S>) -> Vec<Uuid> {
        let (vault, key) = (self.vault_id().await, KeyId::random());
        let context = EncryptionContext { vault, purpose: Purpose::DeadLetter, key };
        let generated = self.kms().await.generate(context).await.unwrap();
        let new = NewSealingKey {
            id: key,
            wrapped_key: &generated.wrapped,
            kms_key: &generated.kms_key,
            commitment: &Commitment::to(&generated.plaintext),
            max_step: 60,
        };
        let server = Server::parse(&self.database_url(Who::Ingest).into()).unwrap();
        let mut conn = server.connect(Role::Ingest).await.unwrap();
        sealing_keys::insert(&mut conn, Seals::DeadLetters, &new).await.unwrap();

        let mut ratchet = Ratchet::new(generated.plaintext);
        ratchet.advance_to(7);
        let sealing_key = ratchet.sealing_key();
        let letters: Vec<_> = bodies
            .into_iter()
            .map(|body| {
                let (body, message) = (body.into(), EventId(Uuid::new_v4()));
                let binding = DeadLetterBinding { vault, create_date: DAY, message, key };
                NewDeadLetter {
                    create_date: DAY,
                    message_id: message,
                    refusal: Reason::InvalidJson.into(),
                    size: body.len().try_into().unwrap(),
                    body: seal_dead_letter(&sealing_key, &binding, &body).unwrap(),
                    key,
                }
            })
            .collect();
        for some in letters.chunks(20) {
            assert_eq!(dead_letters::insert(&mut conn, some).await.unwrap(), some.len());
        }
        letters.iter().map(|letter| letter.message_id.0).collect()
    }
}
