//! What protects a connection, by the server's own account (`pg_stat_ssl`, which every role may read for itself).

use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel_async::{AsyncConnection as _, RunQueryDsl, SimpleAsyncConnection as _};

use super::{Connection, DbError};

/// A connection's TLS. The server says nothing of who verified whom: that is [`super::Server::tls_mode`]'s. Behind a
/// pooler this is the way from the pooler to the server.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Encryption {
    /// Whether there is any.
    #[diesel(sql_type = Bool)]
    pub encrypted: bool,
    /// E.g. `TLSv1.3`.
    #[diesel(sql_type = Nullable<Text>)]
    pub version: Option<String>,
    /// E.g. `TLS_AES_256_GCM_SHA384`.
    #[diesel(sql_type = Nullable<Text>)]
    pub cipher: Option<String>,
    /// Whether it is a connection within one machine: a socket, or a loopback address.
    #[diesel(sql_type = Bool)]
    pub local: bool,
}

/// Asks the server about this connection.
///
/// As the login itself: the view shows a session to its own user, not to a role that this user has taken on.
///
/// # Errors
/// [`DbError`].
pub async fn of(conn: &mut Connection) -> Result<Encryption, DbError> {
    conn.transaction(async |conn| {
        conn.batch_execute("SET LOCAL ROLE NONE").await?;
        diesel::sql_query(QUERY).get_result(conn).await.map_err(DbError::during("asking about TLS"))
    })
    .await
}

const QUERY: &str = "\
    SELECT ssl AS encrypted, version, cipher, \
        COALESCE(pg_catalog.inet_client_addr() << '127.0.0.0/8' OR pg_catalog.inet_client_addr() = '::1', true) AS local \
    FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()";
