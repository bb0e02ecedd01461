//! The table of `keys/README.md`.

use std::collections::{BTreeMap, BTreeSet};

/// What the columns of the table are about, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Resource {
    Data,
    Token,
    DeadLetter,
    Signing,
    Queue,
}

/// Names of actions, as the table has them: without the service, ReEncrypt for both of its ends.
pub(super) type Actions = BTreeSet<String>;

/// A row: what one identity may do with what.
pub(super) type Row = BTreeMap<Resource, Actions>;

impl Resource {
    pub(super) const ALL: [Self; 5] = [Self::Data, Self::Token, Self::DeadLetter, Self::Signing, Self::Queue];
    pub(super) const KMS_KEYS: [Self; 4] = [Self::Data, Self::Token, Self::DeadLetter, Self::Signing];

    /// The heading of its column.
    fn heading(self) -> &'static str {
        match self {
            Self::Data => "data key",
            Self::Token => "token key",
            Self::DeadLetter => "dead-letter key",
            Self::Signing => "signing key",
            Self::Queue => "queue",
        }
    }

    /// As files and contexts name it.
    pub(super) fn name(self) -> &'static str {
        self.heading().trim_end_matches(" key")
    }

    /// The placeholder in policies.
    pub(super) fn placeholder(self) -> String {
        format!("{}_ARN", self.heading().replace([' ', '-'], "_").to_uppercase())
    }
}

/// The rows, by identity.
pub(super) fn read() -> BTreeMap<String, Row> {
    let page = include_str!("../../../keys/README.md");
    let mut lines = page.lines().skip_while(|line| !line.starts_with("| identity | data key"));
    let headings: Vec<_> = cells(lines.next().expect("the table"));
    assert_eq!(headings[1..], Resource::ALL.map(Resource::heading));
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(|line| {
        let cells = cells(line);
        assert_eq!(cells.len(), headings.len(), "{line}");
        let actions = cells[1..].iter().map(|cell| {
            cell.split(", ").filter(|action| !action.is_empty()).map(ToOwned::to_owned).collect::<Actions>()
        });
        (cells[0].to_owned(), Resource::ALL.into_iter().zip(actions).collect())
    });
    let rows: BTreeMap<String, Row> = rows.collect();
    assert_eq!(rows.len(), 11, "{:?}", rows.keys());
    rows
}

fn cells(line: &str) -> Vec<&str> {
    let line = line.trim();
    line.strip_prefix('|').and_then(|line| line.strip_suffix('|')).expect("a row").split('|').map(str::trim).collect()
}
