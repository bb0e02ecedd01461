//! libpq's password file (PostgreSQL documentation, "The Password File"): `host:port:database:user:password`.
//!
//! `*` stands for anything, a backslash before `:` or `\` for the character itself; the first line that fits counts. A
//! file that others may read is ignored with a warning.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

/// Whose password is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// A socket's folder matches by its path and, being local, as `localhost`.
    pub(super) hosts: &'a [&'a str],
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The password in the file. Read anew for each connection, so that it can be changed under a running command.
pub(super) fn password(path: &Path, entry: Entry<'_>) -> Option<SecretString> {
    let mut file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() {
        tracing::warn!(path = %path.display(), "the password file is not used: it is no plain file");
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the password file is not used: others may read it; chmod 0600 it");
        return None;
    }
    let mut content = Zeroizing::new(String::new());
    file.read_to_string(&mut content).ok()?;
    find(&content, entry)
}

fn find(content: &str, entry: Entry<'_>) -> Option<SecretString> {
    content.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        let mut fits = |accepted: &[&str]| {
            let (field, after) = field(rest);
            let bare = rest.strip_suffix(after).unwrap_or(rest);
            let fits = matches!(bare, "*" | "*:") || accepted.contains(&field.as_str());
            rest = after;
            fits
        };
        let port = entry.port.to_string();
        let fits = fits(entry.hosts) && fits(&[&port]) && fits(&[entry.database]) && fits(&[entry.user]);
        (fits && !rest.is_empty()).then(|| SecretString::from(field(rest).0.as_str()))
    })
}

/// Up to the next colon that has no backslash before it, and what follows that colon.
fn field(text: &str) -> (Zeroizing<String>, &str) {
    let mut field = Zeroizing::new(String::with_capacity(text.len()));
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' => return (field, characters.as_str()),
            '\\' => field.push(characters.next().unwrap_or('\\')),
            _ => field.push(character),
        }
    }
    (field, "")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn found(content: &str) -> Option<String> {
        let entry = Entry { hosts: &["db.internal"], port: 5432, database: "logins", user: "etl:service" };
        find(content, entry).map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let lines = "# db.internal:5432:logins:etl\\:service:comment\n\
                     db.internal:5433:logins:*:port\n\
                     *:*:postgres:*:database\n\
                     db.internal:*:logins:etl\\:service:a\\:b\\\\c:ignored\n\
                     *:*:*:*:later\n";
        assert_eq!(found(lines).as_deref(), Some("a:b\\c"));
        assert_eq!(found("*:*:*:*:all\r\n").as_deref(), Some("all"));
    }

    #[test]
    fn what_does_not_fit_gives_none() {
        for line in
            ["", "*", "*:*:*:*", "*:*:*:*:", "\\*:*:*:*:star", "db.internal:5432:logins:etl:service:x", "#*:*:*:*:x"]
        {
            assert_eq!(found(line), None, "{line}");
        }
    }
}
