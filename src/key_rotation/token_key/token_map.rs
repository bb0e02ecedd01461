use std::io;

use uuid::Uuid;

use crate::db::Pool;
use crate::db::rotation::handouts;
use crate::db::rotation::token_key::TokenRefusal;
use crate::db::rotation::token_key::token_map::{self, TokenPair};
use crate::domain::Field;
use crate::key_rotation::RotationError;
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
        let may_pass = RotationError::may_pass;
        // One more record than exports, where the answer to the first was lost.
        let record =
            || async { Ok::<_, RotationError>(token_map::record(&mut *pool.get().await?, job, reason).await?) };
        let id = match patience.wait_out(may_pass, || (), record).await? {
            Ok(id) => id,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let arm = || async { Ok::<_, RotationError>(handouts::arm(&mut *pool.get().await?, id).await?) };
        let seq = patience.wait_out(may_pass, || (), arm).await?;
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
                let fetch = || async {
                    Ok(token_map::fetch(&mut *self.pool.get().await?, self.id, field, last.as_ref()).await?)
                };
                let page = self.patience.wait_out(RotationError::may_pass, || (), fetch).await?;
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
