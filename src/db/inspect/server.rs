//! The server and who is connected to it.

use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use time::OffsetDateTime;

use super::super::{Connection, DbError};

/// What was found.
#[derive(Debug, QueryableByName)]
pub struct Found {
    /// As in `server_version_num`.
    #[diesel(sql_type = Integer)]
    pub version: i32,
    /// As people write it.
    #[diesel(sql_type = Text)]
    pub version_name: String,
    /// Whether a commit is on disk when it is said to be.
    #[diesel(sql_type = Bool)]
    pub fsync: bool,
    /// Whether a torn page is mended after a crash.
    #[diesel(sql_type = Bool)]
    pub full_page_writes: bool,
    /// The default of sessions that set none; `off` means that their last commits can be lost in a crash. Those of this
    /// program set it.
    #[diesel(sql_type = Text)]
    pub synchronous_commit: String,
    /// Whether bit rot shows.
    #[diesel(sql_type = Bool)]
    pub data_checksums: bool,
    /// Who logged in.
    #[diesel(sql_type = Text)]
    pub login: String,
    /// Whether that is a superuser.
    #[diesel(sql_type = Bool)]
    pub superuser: bool,
    /// The server's clock.
    #[diesel(sql_type = Timestamptz)]
    pub now: OffsetDateTime,
}

/// Looks at the server.
///
/// # Errors
/// [`DbError`].
pub async fn look(conn: &mut Connection) -> Result<Found, DbError> {
    diesel::sql_query(LOOK).get_result(conn).await.map_err(DbError::during("looking at the server"))
}

const LOOK: &str = "\
    SELECT current_setting('server_version_num')::integer AS version, current_setting('server_version') AS version_name, \
        current_setting('fsync')::boolean AS fsync, current_setting('full_page_writes')::boolean AS full_page_writes, \
        (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS synchronous_commit, \
        current_setting('data_checksums')::boolean AS data_checksums, \
        session_user::text AS login, (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) AS superuser, \
        clock_timestamp() AS now";
