//! `pii_vault.dead_letters`: messages that cannot be stored as an event.

use std::ops::AddAssign;
use std::time::Duration;

use diesel::data_types::PgInterval;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Binary, Date as SqlDate, Integer, Interval, Nullable, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::committed::committed;
use super::enums::sql;
use super::schema::dead_letters;
use super::{Connection, DbError};
use crate::crypto::Sealed;
use crate::domain::{EventId, KeyId, Member, Reason, Refusal};

/// A sealed dead letter, ready to store.
#[derive(Debug)]
pub struct NewDeadLetter {
    /// UTC day of the message.
    pub create_date: Date,
    /// The message.
    pub message_id: EventId,
    /// Why it is no event.
    pub refusal: Refusal,
    /// Bytes of the body.
    pub size: i32,
    /// The sealed body.
    pub body: Sealed,
    /// The dead-letter key of the seal.
    pub key: KeyId,
}

/// What may be told of a dead letter: never its content.
#[derive(Debug, Queryable)]
pub struct DeadLetterRow {
    /// UTC day of the message.
    pub create_date: Date,
    /// The message.
    pub message_id: Uuid,
    /// Why it is no event.
    pub reason: Reason,
    /// The member to blame, where it is one.
    pub member: Option<Member>,
    /// Bytes of the body.
    pub size: i32,
    /// When it was set aside.
    pub received_at: OffsetDateTime,
    /// When it was stored as an event after all.
    pub redriven_at: Option<OffsetDateTime>,
}

impl NewDeadLetter {
    /// The primary key, by which batches are sorted.
    #[must_use]
    pub fn primary_key(&self) -> (Date, EventId) {
        (self.create_date, self.message_id)
    }
}

/// Inserts dead letters that are not there yet, in the order given, and returns how many were not.
///
/// # Errors
/// [`DbError`].
pub async fn insert(conn: &mut Connection, letters: &[NewDeadLetter]) -> Result<usize, DbError> {
    if letters.is_empty() {
        return Ok(0);
    }
    Columns::from(letters).execute(conn).await.map_err(DbError::during("storing dead letters"))
}

/// Dead letters, latest first, `limit` at most; only those with `reason` where one is given. `redriven` lists those
/// that became events since, in place of those that did not.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    conn: &mut Connection,
    reason: Option<Reason>,
    redriven: bool,
    limit: i64,
) -> Result<Vec<DeadLetterRow>, DbError> {
    let mut query = dead_letters::table
        .select((
            dead_letters::create_date,
            dead_letters::message_id,
            dead_letters::reason,
            dead_letters::member,
            dead_letters::size,
            dead_letters::received_at,
            dead_letters::redriven_at,
        ))
        .filter(dead_letters::redriven_at.is_not_null().eq(redriven))
        .order((dead_letters::received_at.desc(), dead_letters::message_id))
        .limit(limit)
        .into_boxed();
    if let Some(reason) = reason {
        query = query.filter(dead_letters::reason.eq(reason));
    }
    query.load(conn).await.map_err(DbError::during("listing dead letters"))
}

/// Dead letters beyond an age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, QueryableByName)]
pub struct Expired {
    /// All of them.
    #[diesel(sql_type = BigInt)]
    pub letters: i64,
    /// Those among them that never became an event.
    #[diesel(sql_type = BigInt)]
    pub never_redriven: i64,
}

impl AddAssign for Expired {
    fn add_assign(&mut self, more: Self) {
        self.letters += more.letters;
        self.never_redriven += more.never_redriven;
    }
}

/// How many dead letters were set aside longer than `age` ago.
///
/// # Errors
/// [`DbError`].
pub async fn count_older_than(conn: &mut Connection, age: Duration) -> Result<Expired, DbError> {
    sql_query(
        "SELECT count(*) AS letters, count(*) FILTER (WHERE redriven_at IS NULL) AS never_redriven \
         FROM pii_vault.dead_letters WHERE received_at < clock_timestamp() - $1",
    )
    .bind::<Interval, _>(interval(age))
    .get_result(conn)
    .await
    .map_err(DbError::during("counting dead letters"))
}

/// Deletes up to `most` of them. They are locked in the order of their primary key, as redriving locks them.
///
/// # Errors
/// [`DbError`].
pub async fn delete_older_than(conn: &mut Connection, age: Duration, most: i64) -> Result<Expired, DbError> {
    sql_query(
        "WITH expired AS ( \
             SELECT create_date, message_id FROM pii_vault.dead_letters \
             WHERE received_at < clock_timestamp() - $1 ORDER BY create_date, message_id LIMIT $2 FOR UPDATE \
         ), deleted AS ( \
             DELETE FROM pii_vault.dead_letters AS l USING expired AS e \
             WHERE l.create_date = e.create_date AND l.message_id = e.message_id RETURNING l.redriven_at \
         ) \
         SELECT count(*) AS letters, count(*) FILTER (WHERE redriven_at IS NULL) AS never_redriven FROM deleted",
    )
    .bind::<Interval, _>(interval(age))
    .bind::<BigInt, _>(most)
    .load(conn)
    .await
    .and_then(committed)
    .map_err(DbError::during("deleting dead letters"))
}

/// Ages of more than 292,000 years are as good as that.
pub(super) fn interval(age: Duration) -> PgInterval {
    PgInterval::from_microseconds(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))
}

#[derive(Default)]
struct Columns<'a> {
    create_date: Vec<Date>,
    message_id: Vec<Uuid>,
    reason: Vec<Reason>,
    member: Vec<Option<Member>>,
    size: Vec<i32>,
    body: Vec<&'a [u8]>,
    key: Vec<Uuid>,
}

impl<'a> From<&'a [NewDeadLetter]> for Columns<'a> {
    fn from(letters: &'a [NewDeadLetter]) -> Self {
        let mut columns = Self::default();
        for letter in letters {
            columns.create_date.push(letter.create_date);
            columns.message_id.push(letter.message_id.0);
            columns.reason.push(letter.refusal.reason);
            columns.member.push(letter.refusal.member);
            columns.size.push(letter.size);
            columns.body.push(letter.body.as_bytes());
            columns.key.push(letter.key.0);
        }
        columns
    }
}

impl QueryFragment<Pg> for Columns<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO pii_vault.dead_letters (create_date, message_id, reason, member, size, body_ciphertext, \
             dead_letter_key_id) SELECT * FROM UNNEST(",
        );
        out.push_bind_param::<Array<SqlDate>, _>(&self.create_date)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.message_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<sql::DeadLetterReason>, _>(&self.reason)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<sql::LoginMember>>, _>(&self.member)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Integer>, _>(&self.size)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Binary>, _>(&self.body)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.key)?;
        out.push_sql(") ON CONFLICT DO NOTHING");
        Ok(())
    }
}

impl QueryId for Columns<'_> {
    type QueryId = Columns<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}
