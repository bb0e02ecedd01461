use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, bb8};

use super::{ConnectError, Role, Server};
use crate::db::{DbError, Fault};

/// Connections of a long-running command.
#[derive(Clone)]
pub struct Pool(bb8::Pool<AsyncPgConnection>);

impl Server {
    /// A pool of connections under `role`, opened as they are needed.
    ///
    /// # Errors
    /// [`ConnectError`] from a first connection, so that a wrong setting is told at once and exactly.
    pub async fn pool(&self, role: Role, size: u32) -> Result<Pool, ConnectError> {
        drop(self.connect(role).await?);
        let (server, told) = (self.clone(), Told::default());
        let mut config = ManagerConfig::default();
        config.custom_setup = Box::new(move |_| {
            let (server, told) = (server.clone(), told.clone());
            Box::pin(async move {
                let connected = server.connect(role).await;
                told.tell(connected.as_ref().err());
                connected.map_err(|error| ConnectionError::BadConnection(error.to_string()))
            })
        });
        let manager = AsyncDieselConnectionManager::new_with_config("", config);
        let pool = bb8::Pool::builder()
            .max_size(size)
            // The pool goes on trying in any case; who waits is told soon that something is out of order.
            .connection_timeout(Duration::from_secs(3))
            .build_unchecked(manager);
        Ok(Pool(pool))
    }
}

impl Pool {
    /// Takes a connection, waiting 3 s at most.
    ///
    /// # Errors
    /// [`Fault::Unreachable`].
    pub async fn get(&self) -> Result<bb8::PooledConnection<'_, AsyncPgConnection>, DbError> {
        self.0.get().await.map_err(|_| DbError::new("taking a connection", Fault::Unreachable))
    }
}

/// The reason why there is no connection, logged once however often it is tried. The pool itself says that there is
/// none, and no more.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<String>>);

impl Told {
    fn tell(&self, error: Option<&ConnectError>) {
        let reason = error.map(ToString::to_string).unwrap_or_default();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !reason.is_empty() && *told != reason {
            tracing::warn!("{reason}");
        }
        *told = reason;
    }
}
