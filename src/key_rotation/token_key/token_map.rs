use std::io;

use uuid::Uuid;

use crate::db::rotation::handouts;
use crate::db::rotation::token_key::TokenRefusal;
use crate::db::rotation::token_key::token_map::{self, TokenPair};
use crate::db::{Connection, Pool};
use crate::domain::Field;
use crate::key_rotation::RotationError;
use crate::key_rotation::waited::waited;
use crate::patience::Patience;

/// An export of old tokens and new ones that is recorded and armed.
pub struct TokenMap {
    id: Uuid,
    seq: i64,
    pool: Pool,
    patience: Patience,
}

/// What went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Pairs of ip tokens.
    pub ips: u64,
    /// Pairs of device id tokens.
    pub device_ids: u64,
}

impl TokenMap {
    /// Records who takes the tokens of a rotation out, and why.
    ///
    /// # Errors
    /// [`RotationError`]. A refusal is none.
    pub async fn record(
        pool: &Pool,
        job: Uuid,
        reason: &str,
        patience: Patience,
    ) -> Result<Result<Self, TokenRefusal>, RotationError> {
        // One more record than exports, where the answer to the first was lost.
        let id = match waited(pool, patience, async |conn| token_map::record(conn, job, reason).await).await? {
            Ok(id) => id,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let seq = waited(pool, patience, async |conn| handouts::arm(conn, id).await).await?;
        Ok(Ok(Self { id, seq, pool: pool.clone(), patience }))
    }

    /// The entry of the audit log.
    #[must_use]
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// Hands each page to `write`, field by field; memory holds one. What ingestion adds meanwhile may be in it.
    ///
    /// # Errors
    /// [`RotationError`]; what was written before stays written.
    pub async fn export(
        &self,
        mut write: impl FnMut(Field, &[TokenPair]) -> io::Result<()>,
    ) -> Result<Exported, RotationError> {
        let mut exported = Exported::default();
        for field in Field::ALL {
            let mut last: Option<TokenPair> = None;
            loop {
                let fetch = async |conn: &mut Connection| token_map::fetch(conn, self.id, field, last.as_ref()).await;
                let page = waited(&self.pool, self.patience, fetch).await?;
                let Some(end) = page.last() else { break };
                write(field, &page).map_err(RotationError::Write)?;
                let count = u64::try_from(page.len()).unwrap_or(u64::MAX);
                match field {
                    Field::Ip => exported.ips += count,
                    Field::DeviceId => exported.device_ids += count,
                }
                last = Some(end.clone());
            }
        }
        Ok(exported)
    }
}
