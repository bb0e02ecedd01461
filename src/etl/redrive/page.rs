use secrecy::ExposeSecret as _;
use time::Date;

use super::Redrive;
use super::report::{Report, Why};
use crate::aws::KeyWrapper;
use crate::crypto::{DeadLetterBinding, open_dead_letter};
use crate::db::login_events::NewLoginEvent;
use crate::db::redrive::{Outcome, Position, SealedLetter, Settled};
use crate::domain::{EventId, KeyId, LoginEvent, Refusal, VaultId};
use crate::etl::error::EtlError;
use crate::etl::protect::Origin;
use crate::keyring::{KeyringError, Openers};

/// What one transaction stores and settles. No plaintext.
pub(super) struct Page {
    pub(super) events: Vec<NewLoginEvent>,
    pub(super) data_key: Option<KeyId>,
    /// Of the events; none where there is no event.
    pub(super) token_keys: Vec<KeyId>,
    pub(super) settled: Vec<Settled>,
    /// The last ordinal, and what stands there.
    pub(super) last: i32,
    pub(super) position: Position,
    findings: Vec<Finding>,
}

/// What a sealed letter turns out to be.
enum Opened {
    Event(Box<LoginEvent>),
    Refused(Refusal),
    Not(Why),
}

/// What the report says once the page is committed.
enum Finding {
    Refused(Refusal),
    Unopened(Date, EventId, Why),
}

impl Page {
    /// Counts the page, of whose events `stored` were new.
    pub(super) fn tell(self, stored: usize, report: &mut Report) {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        report.stored += count(stored);
        report.already_stored += count(self.events.len().saturating_sub(stored));
        for finding in self.findings {
            match finding {
                Finding::Refused(refusal) => report.refused(refusal.reason),
                Finding::Unopened(create_date, message, why) => report.unopened(create_date, message, why),
            }
        }
    }
}

impl<W: KeyWrapper> Redrive<W> {
    /// Opens, parses with today's rules, and protects; `None` of nothing. One body is in memory as plaintext at a time.
    pub(super) async fn protect(&self, mut letters: Vec<SealedLetter>) -> Result<Option<Page>, EtlError> {
        let Some(last) = letters.last() else { return Ok(None) };
        let mut page = Page {
            events: Vec::new(),
            data_key: None,
            token_keys: Vec::new(),
            settled: Vec::with_capacity(letters.len()),
            last: last.ordinal,
            position: (last.create_date, last.message),
            findings: Vec::new(),
        };
        // Key by key, so that each is asked of KMS once.
        letters.sort_unstable_by_key(|letter| letter.key_id);
        let mut logins = Vec::new();
        let mut openers = self.openers.lock().await;
        for letter in letters {
            let settled = |outcome, refusal| Settled { ordinal: letter.ordinal, outcome, refusal };
            let origin = Origin { vault: self.vault, create_date: letter.create_date, id: letter.message };
            match open(&mut openers, self.vault, &letter).await? {
                Opened::Event(login) => {
                    logins.push((origin, login));
                    page.settled.push(settled(Outcome::Stored, None));
                }
                Opened::Refused(refusal) => {
                    page.findings.push(Finding::Refused(refusal));
                    page.settled.push(settled(Outcome::Refused, Some(refusal)));
                }
                Opened::Not(why) => {
                    page.findings.push(Finding::Unopened(letter.create_date, letter.message, why));
                    page.settled.push(settled(Outcome::DidNotOpen, None));
                }
            }
        }
        if logins.is_empty() {
            return Ok(Some(page));
        }
        let values = u64::try_from(logins.len() * 2).unwrap_or(u64::MAX);
        let key = self.data_keys.take(values).await?;
        let token_keys = self.token_keys.lock().await.clone();
        (page.data_key, page.token_keys) = (Some(key.id), token_keys.ids());
        page.events = logins
            .into_iter()
            .map(|(origin, login)| origin.event(*login, &token_keys, &key))
            .collect::<Result<_, _>>()?;
        page.events.sort_unstable_by_key(NewLoginEvent::primary_key);
        Ok(Some(page))
    }
}

async fn open<W: KeyWrapper>(
    openers: &mut Openers<W>,
    vault: VaultId,
    letter: &SealedLetter,
) -> Result<Opened, KeyringError> {
    let Some(key) = &letter.key else { return Ok(Opened::Not(Why::NoKey)) };
    let opener = match openers.get(key).await? {
        Ok(opener) => opener,
        Err(why) => return Ok(Opened::Not(why.into())),
    };
    let binding =
        DeadLetterBinding { vault, create_date: letter.create_date, message: letter.message, key: letter.key_id };
    Ok(match open_dead_letter(opener, &binding, &letter.body) {
        Ok(body) => match LoginEvent::parse(body.expose_secret()) {
            Ok(login) => Opened::Event(Box::new(login)),
            Err(refusal) => Opened::Refused(refusal),
        },
        Err(why) => Opened::Not(why.into()),
    })
}
