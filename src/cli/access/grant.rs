//! A grant or request, as `access` shows it.

use anyhow::Context as _;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::db::Connection;
use crate::db::access_grants::{self, AccessGrant, Selection};
use crate::domain::{AccessState, Field};

/// As JSON. Times are RFC 3339, in UTC.
#[derive(Serialize)]
pub(super) struct Shown {
    pub(super) id: String,
    pub(super) state: &'static str,
    pub(super) requested_at: String,
    pub(super) requester: String,
    pub(super) fields: Vec<&'static str>,
    pub(super) reason: String,
    pub(super) case: String,
    pub(super) max_values: i32,
    pub(super) used: i64,
    pub(super) duration_seconds: i32,
    pub(super) approvals_needed: i32,
    pub(super) approved_by: Vec<String>,
    pub(super) denied_by: Vec<String>,
    pub(super) revoked_by: Vec<String>,
    pub(super) granted_at: Option<String>,
    pub(super) expires_at: Option<String>,
}

impl Shown {
    /// The request of this id as it is now.
    pub(super) async fn read(conn: &mut Connection, id: Uuid) -> anyhow::Result<Self> {
        let selection = Selection { id: Some(id), ..Selection::default() };
        let found = access_grants::list(conn, &selection).await.context("it is done, but cannot be shown")?;
        found.into_iter().next().context("it is done, but this login may not see the request")?.try_into()
    }

    /// Who else has to approve it before it opens anything.
    pub(super) fn waits_for(&self) -> String {
        let approved = i32::try_from(self.approved_by.len()).unwrap_or(i32::MAX);
        match self.approvals_needed.saturating_sub(approved) {
            1 => "waits for 1 approval".to_owned(),
            more => format!("waits for {more} approvals"),
        }
    }

    /// What it is at present, in words.
    pub(super) fn state_in_words(&self) -> String {
        match (&self.expires_at, self.state) {
            (Some(until), "granted") => format!("granted until {until}"),
            (_, "pending") => self.waits_for(),
            (_, state) => state.to_owned(),
        }
    }
}

impl TryFrom<AccessGrant> for Shown {
    type Error = anyhow::Error;

    fn try_from(grant: AccessGrant) -> Result<Self, Self::Error> {
        let written = |time: OffsetDateTime| time.format(&Rfc3339).context("a time that cannot be written");
        Ok(Self {
            id: grant.id.to_string(),
            state: AccessState::name(grant.state),
            requested_at: written(grant.requested_at)?,
            requester: grant.requester,
            fields: grant.fields.into_iter().map(Field::name).collect(),
            reason: grant.reason,
            case: grant.case_id,
            max_values: grant.max_values,
            used: grant.used,
            duration_seconds: grant.duration_seconds,
            approvals_needed: grant.approvals_needed,
            approved_by: grant.approved_by,
            denied_by: grant.denied_by,
            revoked_by: grant.revoked_by,
            granted_at: grant.granted_at.map(written).transpose()?,
            expires_at: grant.expires_at.map(written).transpose()?,
        })
    }
}
