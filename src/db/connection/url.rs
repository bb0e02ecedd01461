//! Takes the words that tokio-postgres does not know, or not in full, out of a connection string.
//!
//! Both forms of libpq's documentation, section "Connection Strings": `postgres://…?word=value&…` and
//! `word=value word='value'`. What is left is tokio-postgres's to judge.

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::ConnectError;

/// libpq's words that are understood here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) sslmode: Option<String>,
    pub(super) sslrootcert: Option<String>,
    pub(super) passfile: Option<String>,
}

impl Words {
    fn place(&mut self, word: &str) -> Option<&mut Option<String>> {
        match word {
            "sslmode" => Some(&mut self.sslmode),
            "sslrootcert" => Some(&mut self.sslrootcert),
            "passfile" => Some(&mut self.passfile),
            _ => None,
        }
    }
}

/// The connection string without our words, and our words. As in libpq, the last of a word that comes twice counts.
pub(super) fn take(connection: &str) -> Result<(Zeroizing<String>, Words), ConnectError> {
    match connection.starts_with("postgres://") || connection.starts_with("postgresql://") {
        true => from_url(connection),
        false => from_pairs(connection),
    }
}

fn from_url(url: &str) -> Result<(Zeroizing<String>, Words), ConnectError> {
    // tokio-postgres ends the user at the first @, wherever it is. Behind a / it is none of the user's, and a second
    // one means that a password was not encoded: its end would be taken for the host, and told in errors.
    let address = url.split_once("://").map_or("", |(_, rest)| rest);
    if let Some((user, rest)) = address.split_once('@')
        && (user.contains('/') || rest.split('?').next().is_some_and(|host| host.contains('@')))
    {
        return Err(ConnectError::Url);
    }
    // A password may hold a question mark; tokio-postgres ends it at the first @, too.
    let host = url.find('@').unwrap_or(0);
    let Some((before, parameters)) =
        url.get(host..).and_then(|rest| rest.find('?')).and_then(|at| url.split_at_checked(host + at))
    else {
        return Ok((Zeroizing::new(url.to_owned()), Words::default()));
    };
    let mut words = Words::default();
    let mut kept = Zeroizing::new(String::with_capacity(url.len()));
    kept.push_str(before);
    let mut separator = '?';
    for pair in parameters.trim_start_matches('?').split('&') {
        let (word, value) = pair.split_once('=').unwrap_or((pair, ""));
        let word = percent_decode_str(word).decode_utf8().map_err(|_| ConnectError::Url)?;
        if let Some(place) = words.place(&word) {
            let value = percent_decode_str(value).decode_utf8().map_err(|_| ConnectError::Url)?;
            *place = Some(value.into_owned());
        } else {
            kept.push(separator);
            kept.push_str(pair);
            separator = '&';
        }
    }
    Ok((kept, words))
}

fn from_pairs(text: &str) -> Result<(Zeroizing<String>, Words), ConnectError> {
    let mut words = Words::default();
    let mut kept = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = rest.split_once('=').ok_or(ConnectError::Url)?;
        let (value, after) = value(after.trim_start())?;
        let end = rest.len() - after.len();
        match words.place(word.trim_end()) {
            Some(place) => *place = Some(value.to_string()),
            None => {
                kept.push_str(rest.get(..end).unwrap_or_default());
                kept.push(' ');
            }
        }
        rest = after.trim_start();
    }
    Ok((kept, words))
}

/// A value, bare or in single quotes, a backslash before any character that is meant as itself; and what follows.
fn value(text: &str) -> Result<(Zeroizing<String>, &str), ConnectError> {
    let (quoted, text) = text.strip_prefix('\'').map_or((false, text), |text| (true, text));
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut characters = text.chars();
    loop {
        let rest = characters.as_str();
        match characters.next() {
            Some('\'') if quoted => return Ok((value, characters.as_str())),
            None if quoted => return Err(ConnectError::Url),
            None => return Ok((value, rest)),
            Some(space) if !quoted && space.is_whitespace() => return Ok((value, rest)),
            Some('\\') => value.extend(characters.next()),
            Some(character) => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(connection: &str) -> (String, Words) {
        let (kept, words) = take(connection).unwrap();
        (kept.to_string(), words)
    }

    fn words(sslmode: &str, sslrootcert: Option<&str>) -> Words {
        Words { sslmode: Some(sslmode.to_owned()), sslrootcert: sslrootcert.map(ToOwned::to_owned), passfile: None }
    }

    #[test]
    fn urls_lose_our_words_and_nothing_else() {
        for (url, kept, found) in [
            ("postgres://u@h/d", "postgres://u@h/d", Words::default()),
            ("postgres://u@h/d?sslmode=verify-full", "postgres://u@h/d", words("verify-full", None)),
            (
                "postgresql://u:a?sslmode=b@h?connect_timeout=3&sslmode=require&sslrootcert=%2Fa%20b&application_name=x",
                "postgresql://u:a?sslmode=b@h?connect_timeout=3&application_name=x",
                words("require", Some("/a b")),
            ),
            ("postgres://h/d?%73slmode=disable&sslmode=verify-ca", "postgres://h/d", words("verify-ca", None)),
        ] {
            assert_eq!(taken(url), (kept.to_owned(), found), "{url}");
        }
    }

    #[test]
    fn an_at_sign_where_none_belongs_is_refused() {
        for url in [
            "postgres://u:geheim@tail@h/d",
            "postgres://h/d?sslmode=verify-full&user=u@other",
            "postgres://h/d?user=u@other:5432/d",
            "postgres://u:a/b@h/d",
        ] {
            assert!(matches!(take(url), Err(ConnectError::Url)), "{url}");
        }
        assert!(take("postgres://u%40x:a%2Fb@h/d?application_name=a@b").is_ok());
    }

    #[test]
    fn pairs_lose_our_words_and_nothing_else() {
        for (pairs, kept, found) in [
            ("host=h user=u", "host=h user=u ", Words::default()),
            ("host=h sslmode = verify-full dbname=d", "host=h dbname=d ", words("verify-full", None)),
            (
                r"password='it\'s sslmode=require' sslmode='verify-ca' sslrootcert='/it\'s here'",
                r"password='it\'s sslmode=require' ",
                words("verify-ca", Some("/it's here")),
            ),
        ] {
            assert_eq!(taken(pairs), (kept.to_owned(), found), "{pairs}");
        }
        for broken in ["sslmode", "sslmode='require", "nonsense://u@h"] {
            assert!(matches!(take(broken), Err(ConnectError::Url)), "{broken}");
        }
    }
}
