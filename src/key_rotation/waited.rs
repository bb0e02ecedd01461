use super::error::RotationError;
use crate::db::{Connection, Pool};
use crate::patience::Patience;

/// What `call` returns with a connection of the pool, tried again for as long as patience lasts.
pub(super) async fn waited<T, E>(
    pool: &Pool,
    patience: Patience,
    call: impl AsyncFn(&mut Connection) -> Result<T, E>,
) -> Result<T, RotationError>
where
    RotationError: From<E>,
{
    let call = || async { Ok(call(&mut *pool.get().await?).await?) };
    patience.wait_out(RotationError::may_pass, || (), call).await
}
