//! The pattern of a case id, in what PostgreSQL's regular expressions and Rust's have in common.
//!
//! The database judges by it and `audit verify` judges again, so both must read it alike. Much of what both accept
//! they read differently: `\b` is a backspace to one and the edge of a word to the other, `[a&&b]` three characters
//! and an intersection, `\<` a character and an edge. Only what they agree on passes here.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::{
    AssertionKind, Ast, ClassPerlKind, ClassSet, ClassSetItem, GroupKind, LiteralKind, Repetition, parse::Parser,
};

/// What the whole of a case id must match.
#[derive(Clone, Debug)]
pub struct CasePattern {
    text: String,
    whole: Regex,
}

/// Why a text is no pattern of a case id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CasePatternError {
    /// Its length.
    #[error("it has 1 to {} characters", CasePattern::LONGEST)]
    Length,
    /// A character outside of printable ASCII, which no case id has.
    #[error("it is printable ASCII, as case ids are")]
    NotAscii,
    /// Not a regular expression.
    #[error("it is no regular expression")]
    Syntax,
    /// PostgreSQL would read it otherwise, or not at all.
    #[error(
        "it may use literal characters (a special one after a backslash), . [a-z] [^0-9] [[:alpha:]] \\d \\w, ( ) (?: ) |, \
         * + ? {{2}} {{2,}} {{2,5}}, ^ and $; more than that PostgreSQL and other programs read differently"
    )]
    Dialect,
}

impl CasePattern {
    /// Characters.
    pub const LONGEST: usize = 200;

    /// Takes a pattern that everybody reads alike.
    ///
    /// # Errors
    /// [`CasePatternError`]. PostgreSQL, which has limits of its own, may still refuse what passes here.
    pub fn parse(text: &str) -> Result<Self, CasePatternError> {
        if !(1..=Self::LONGEST).contains(&text.chars().count()) {
            return Err(CasePatternError::Length);
        }
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(CasePatternError::NotAscii);
        }
        // Alone, so that nothing closes the group below and opens another.
        let ast = Parser::new().parse(text).map_err(|_| CasePatternError::Syntax)?;
        if !is_common(&ast) {
            return Err(CasePatternError::Dialect);
        }
        let whole =
            RegexBuilder::new(&format!("^(?:{text})$")).unicode(false).build().map_err(|_| CasePatternError::Syntax)?;
        Ok(Self { text: text.to_owned(), whole })
    }

    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether this is a case id by it: 1 to 100 printable ASCII characters without spaces, all of which match.
    #[must_use]
    pub fn matches(&self, case_id: &str) -> bool {
        (1..=100).contains(&case_id.len())
            && case_id.bytes().all(|byte| matches!(byte, b'!'..=b'~'))
            && self.whole.is_match(case_id.as_bytes())
    }
}

fn is_common(ast: &Ast) -> bool {
    match ast {
        Ast::Empty(_) | Ast::Dot(_) => true,
        Ast::Literal(literal) => is_plain(&literal.kind),
        Ast::Assertion(edge) => matches!(edge.kind, AssertionKind::StartLine | AssertionKind::EndLine),
        Ast::ClassPerl(class) => is_perl(&class.kind) && !class.negated,
        Ast::ClassBracketed(class) => match &class.kind {
            ClassSet::Item(item) => is_common_item(item),
            ClassSet::BinaryOp(_) => false,
        },
        Ast::Repetition(repetition) => is_common_repetition(repetition),
        Ast::Group(group) => {
            let kind = match &group.kind {
                GroupKind::CaptureIndex(_) => true,
                GroupKind::NonCapturing(flags) => flags.items.is_empty(),
                GroupKind::CaptureName { .. } => false,
            };
            kind && is_common(&group.ast)
        }
        Ast::Alternation(branches) => branches.asts.iter().all(is_common),
        Ast::Concat(parts) => parts.asts.iter().all(is_common),
        Ast::Flags(_) | Ast::ClassUnicode(_) => false,
    }
}

/// PostgreSQL repeats no repetition and no edge.
fn is_common_repetition(repetition: &Repetition) -> bool {
    let repeats_itself = matches!(*repetition.ast, Ast::Repetition(_) | Ast::Assertion(_) | Ast::Empty(_));
    repetition.greedy && !repeats_itself && is_common(&repetition.ast)
}

fn is_common_item(item: &ClassSetItem) -> bool {
    match item {
        ClassSetItem::Literal(literal) => is_plain(&literal.kind),
        ClassSetItem::Range(range) => is_plain(&range.start.kind) && is_plain(&range.end.kind),
        ClassSetItem::Ascii(class) => !class.negated,
        ClassSetItem::Perl(class) => is_perl(&class.kind) && !class.negated,
        ClassSetItem::Union(union) => union.items.iter().all(is_common_item),
        ClassSetItem::Empty(_) | ClassSetItem::Unicode(_) | ClassSetItem::Bracketed(_) => false,
    }
}

fn is_perl(kind: &ClassPerlKind) -> bool {
    matches!(kind, ClassPerlKind::Digit | ClassPerlKind::Word)
}

fn is_plain(kind: &LiteralKind) -> bool {
    matches!(kind, LiteralKind::Verbatim | LiteralKind::Meta | LiteralKind::Superfluous)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_of_a_case_id_matches() {
        let pattern = CasePattern::parse("CASE-[0-9]{4}|X\\d+").unwrap();
        for (case_id, matches) in [
            ("CASE-0001", true),
            ("CASE-00012", false),
            ("xCASE-0001", false),
            ("X1", true),
            ("X1 ", false),
            ("", false),
        ] {
            assert_eq!(pattern.matches(case_id), matches, "{case_id:?}");
        }
        let any = CasePattern::parse(".+").unwrap();
        assert!(any.matches(&"x".repeat(100)) && !any.matches(&"x".repeat(101)));
        assert!(!any.matches("a b") && !any.matches("ä") && !any.matches("a\n") && !any.matches(""));
    }

    #[test]
    fn what_others_would_read_otherwise_is_refused() {
        use CasePatternError::{Dialect, Length, NotAscii, Syntax};
        for pattern in [
            r"a\b",
            r"\<a",
            r"\x41",
            r"\u0041",
            r"\t",
            "[a&&b]",
            "[a--b]",
            "[a~~b]",
            "[[.a.]]",
            "[a[b]]",
            "(?i)a",
            "(?i:a)",
            "(?P<n>a)",
            "a**",
            "a+?",
            "^*",
            r"\pL",
            r"\s",
            r"\D",
            r"\Aa",
            "[[:^alpha:]]",
        ] {
            assert_eq!(CasePattern::parse(pattern).unwrap_err(), Dialect, "{pattern}");
        }
        for pattern in ["a)|(?:b", "a{,5}", "(", "[", "a{", "*", r"\y", r"(a)\1", "(?=a)"] {
            assert_eq!(CasePattern::parse(pattern).unwrap_err(), Syntax, "{pattern}");
        }
        assert_eq!(CasePattern::parse("").unwrap_err(), Length);
        assert_eq!(CasePattern::parse(&"a".repeat(201)).unwrap_err(), Length);
        assert_eq!(CasePattern::parse("Fälle-.*").unwrap_err(), NotAscii);
    }
}
