//! A report as Markdown with tables (GitHub's, which most programs read).

use std::fmt::{Display, Write as _};

use super::words::{self, columns};
use crate::audit::{Account, Counts, Tally};
use crate::cli::escaped::Escaped;

pub(super) fn page(account: &Account, made: &str) -> String {
    let mut page = String::new();
    // Writing to a String does not fail.
    let _ = write(&mut page, account, made);
    page
}

fn write(page: &mut String, account: &Account, made: &str) -> std::fmt::Result {
    let (holds, said) = words::verdict(account);
    writeln!(page, "# {}\n", text(&words::title(&account.scope)))?;
    writeln!(page, "Vault {}. {}\n", account.vault, text(made))?;
    writeln!(page, "## {}\n", if holds { "The log is verified" } else { "THE LOG IS NOT VERIFIED" })?;
    for sentence in &said {
        writeln!(page, "- {}", text(sentence))?;
    }
    for finding in &account.verified.findings {
        let place = finding.seq.map(|seq| format!("entry {seq}: ")).unwrap_or_default();
        writeln!(page, "- **Fault**: {}", text(&format!("{place}{} ({})", finding.what, finding.word)))?;
    }
    for note in &account.verified.notes {
        writeln!(page, "- Note: {}", text(&format!("{} ({} times)", note.what, note.count)))?;
    }
    let head = &account.verified.head;
    writeln!(page, "- Last entry: {}, hash `{}`", head.seq, crate::cli::audit::entry::hex(&head.hash))?;
    writeln!(page, "\n## Counts\n")?;
    let none = String::from("(none)");
    table(page, "", [("all", account.total)].into_iter())?;
    tally(page, "Officer", &account.by_actor, Clone::clone)?;
    tally(page, "Case", &account.by_case, |case| case.clone().unwrap_or(none.clone()))?;
    tally(page, "Day", &account.by_day, ToString::to_string)?;
    if !account.rotations.is_empty() {
        writeln!(page, "## Rotations of keys\n")?;
        writeln!(page, "| Job | {} |\n|---|---|---|---|---|---|", words::ROTATION_TITLES.join(" | "))?;
        for rotated in &account.rotations {
            let cells = words::rotation(rotated).map(|cell| text(&cell));
            writeln!(page, "| {} | {} |", rotated.job, cells.join(" | "))?;
        }
        writeln!(page)?;
    }
    writeln!(page, "## Timeline\n")?;
    writeln!(page, "| Entry | Time (UTC) | Who | What | Case | Decision | Outcome | Reason |")?;
    writeln!(page, "|---:|---|---|---|---|---|---|---|")?;
    for event in &account.timeline {
        let what = match event.what.as_str() {
            "" => words::action(&event.action).to_owned(),
            what => format!("{}: {what}", words::action(&event.action)),
        };
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            event.seq,
            event.at,
            text(&event.actor),
            text(&what),
            text(event.case_id.as_deref().unwrap_or("")),
            text(&words::decision(event)),
            words::outcome(event),
            text(event.reason.as_deref().unwrap_or("")),
        )?;
    }
    if let Some(sentence) = words::untold(account) {
        writeln!(page, "\n{}", text(&sentence))?;
    }
    writeln!(page, "\n## What this shows\n")?;
    words::NOTES.iter().try_for_each(|note| writeln!(page, "- {}", text(note)))
}

fn tally<K>(page: &mut String, title: &str, tally: &Tally<K>, name: impl Fn(&K) -> String) -> std::fmt::Result {
    table(page, title, tally.iter().map(|(key, counts)| (name(key), *counts)))
}

fn table(page: &mut String, title: &str, rows: impl Iterator<Item = (impl Display, Counts)>) -> std::fmt::Result {
    let titles = columns(&Counts::default()).map(|(title, _)| title);
    writeln!(page, "| {title} | {} |", titles.join(" | "))?;
    writeln!(page, "|---|{}", "---:|".repeat(titles.len()))?;
    for (name, counts) in rows {
        let numbers = columns(&counts).map(|(_, number)| number.to_string());
        writeln!(page, "| {} | {} |", text(&name.to_string()), numbers.join(" | "))?;
    }
    writeln!(page)
}

/// Text on one line that says itself and no more: no markup, no link, no end of a cell.
pub(super) fn text(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut before = ' ';
    for c in Escaped(text).to_string().chars() {
        let is_markup = matches!(
            c,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | ':' | '$' | '^' | '{' | '}' | '=' | '"' | '\''
        ) || (c == '.' && matches!(before, 'w' | 'W'))
            // At the beginning of a line these would begin a heading or a list.
            || (written.is_empty() && c.is_ascii_punctuation());
        if is_markup {
            written.push('\\');
        }
        written.push(c);
        before = c;
    }
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

    use super::*;

    /// The text of the one cell of a table that holds it; anything but text in it panics.
    fn cell(written: &str) -> String {
        let page = format!("| |\n|---|\n| x{written}x |\n");
        let (mut cells, mut inside, mut read) = (0, false, String::new());
        for event in Parser::new_ext(&page, Options::all()) {
            match event {
                Event::Start(Tag::TableCell) => (cells, inside) = (cells + 1, true),
                Event::End(TagEnd::TableCell) => inside = false,
                Event::Text(text) if inside => read.push_str(&text),
                other if inside => panic!("{other:?} in {page}"),
                _ => {}
            }
        }
        assert_eq!(cells, 2, "{page}");
        read
    }

    #[test]
    fn markup_is_shown_and_not_obeyed() {
        for hostile in [
            "a | b",
            "<script>alert(1)</script>",
            "[x](javascript:alert(1))",
            "![x](https://example.com/x.png)",
            "https://example.com www.example.com",
            "**bold** __x__ ~~y~~ `code` $x$ ^a^ {#id .class}",
            "&lt;&#60; \\| \\",
            "line\nline\r\n| 1 | 2 |",
            "[^1] [[wiki]] :smile: \"q\" 'q' -- ...",
            "\u{202e}evil\u{200b}",
        ] {
            let shown = Escaped(hostile).to_string();
            assert_eq!(
                cell(&text(hostile))
                    .replace(['“', '”'], "\"")
                    .replace(['‘', '’'], "'")
                    .replace('–', "--")
                    .replace('…', "..."),
                format!("x{shown}x")
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_text(hostile in r#"([\\`*_\[\]<>|~&:$^{}()#+\-!.=/"'wW\n@a0 ]|\PC){0,40}"#) {
            cell(&text(&hostile));
        }
    }
}
