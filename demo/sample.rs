//! The sample set, and what must come of it, worked out from the originals alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

const TEXT: &str = include_str!("logins.jsonl");

pub(crate) struct Sample {
    pub(crate) messages: Vec<&'static str>,
    pub(crate) logins: Vec<Login>,
}

#[derive(Deserialize)]
pub(crate) struct Login {
    pub(crate) user_id: String,
    pub(crate) ip: String,
    device_id: String,
}

/// How often one value comes: logins, and the users behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    pub(crate) logins: usize,
    pub(crate) users: usize,
}

impl Sample {
    pub(crate) fn read() -> Result<Self> {
        let messages: Vec<_> = TEXT.lines().collect();
        let logins: Vec<Login> = messages.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        ensure!(logins.iter().all(|login| login.ip.parse::<IpAddr>().is_ok()), "the sample set has a strange address");
        Ok(Self { messages, logins })
    }

    /// Messages that are no logins.
    pub(crate) fn poison(&self) -> impl Iterator<Item = &'static str> {
        self.messages.iter().copied().filter(|line| serde_json::from_str::<Login>(line).is_err())
    }

    /// Every address and device id as it was written, in broken messages as well, and those messages as a whole.
    pub(crate) fn secrets(&self) -> BTreeSet<&'static str> {
        let quoted = self.messages.iter().flat_map(|line| line.split('"'));
        quoted.filter(|text| text.parse::<IpAddr>().is_ok() || is_device_id(text)).chain(self.poison()).collect()
    }

    pub(crate) fn users(&self) -> BTreeSet<&str> {
        self.logins.iter().map(|login| login.user_id.as_str()).collect()
    }

    /// Addresses that come more than once, most frequent first, however they are spelled.
    pub(crate) fn repeated_ips(&self) -> Vec<Group> {
        // What is no address was refused by `read`.
        repeated(self.logins.iter().map(|login| (login.ip.parse::<IpAddr>().ok().map(|ip| ip.to_canonical()), login)))
    }

    pub(crate) fn repeated_device_ids(&self) -> Vec<Group> {
        repeated(self.logins.iter().map(|login| (&login.device_id, login)))
    }

    /// The logins that came from the address that comes most often.
    pub(crate) fn logins_of_most_frequent_ip(&self) -> Vec<&Login> {
        let mut by_address = BTreeMap::<_, Vec<&Login>>::new();
        for login in &self.logins {
            by_address.entry(login.ip.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())).or_default().push(login);
        }
        by_address.into_values().max_by_key(Vec::len).unwrap_or_default()
    }

    /// Two users with one IPv4 address, which the second one's message spells as IPv6.
    pub(crate) fn two_spellings(&self) -> Result<[&Login; 2]> {
        let pair = |mapped: &'_ Login, plain: &'_ Login| {
            mapped.user_id != plain.user_id && mapped.ip.strip_prefix("::ffff:") == Some(&plain.ip)
        };
        let mut pairs = self.logins.iter().flat_map(|plain| {
            self.logins.iter().filter(move |mapped| pair(mapped, plain)).map(move |mapped| [plain, mapped])
        });
        pairs.next().context("the sample set spells no address in two ways")
    }
}

fn repeated<'a, T: Ord>(logins: impl Iterator<Item = (T, &'a Login)>) -> Vec<Group> {
    let mut by_value = BTreeMap::<T, Vec<&str>>::new();
    for (value, login) in logins {
        by_value.entry(value).or_default().push(&login.user_id);
    }
    let mut groups: Vec<_> = by_value
        .values()
        .filter(|users| users.len() > 1)
        .map(|users| Group { logins: users.len(), users: users.iter().collect::<BTreeSet<_>>().len() })
        .collect();
    groups.sort_unstable_by(|a, b| b.cmp(a));
    groups
}

/// `593-47-5928`
fn is_device_id(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let digits = parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    digits && parts.iter().map(|part| part.len()).eq([3, 2, 4])
}
