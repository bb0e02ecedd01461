use std::str::FromStr;

use regex::Regex;

/// An ARN, or a pattern of one: `*` is any characters.
#[derive(Clone, Debug)]
pub struct Principal(Regex);

/// It is empty, or too long to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is an ARN, like arn:aws:iam::123456789012:role/unmask, in which * is any characters")]
pub struct PrincipalError;

impl Principal {
    /// Whether it is this one.
    #[must_use]
    pub fn is(&self, arn: &str) -> bool {
        self.0.is_match(arn)
    }
}

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        if !text.starts_with("arn:") && !text.starts_with('*') {
            return Err(PrincipalError);
        }
        let parts: Vec<_> = text.split('*').map(regex::escape).collect();
        // `.` is any character but a line feed, which no ARN has.
        Regex::new(&format!("^{}$", parts.join(".*"))).map(Self).map_err(|_| PrincipalError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters_and_all_else_is_itself() {
        let role: Principal = "arn:aws:sts::1:assumed-role/unmask/*".parse().unwrap();
        assert!(
            role.is("arn:aws:sts::1:assumed-role/unmask/jane") && !role.is("arn:aws:sts::1:assumed-role/unmasked/x")
        );
        let exact: Principal = "arn:aws:iam::1:user/a.b".parse().unwrap();
        assert!(exact.is("arn:aws:iam::1:user/a.b") && !exact.is("arn:aws:iam::1:user/axb"));
        assert!(!exact.is("arn:aws:iam::1:user/a.b.c") && !exact.is("xarn:aws:iam::1:user/a.b"));
        for wrong in ["", "unmask", "role/unmask"] {
            assert!(wrong.parse::<Principal>().is_err());
        }
    }
}
