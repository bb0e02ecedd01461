//! A report as one page of HTML that loads nothing.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use time::Date;

use super::words::{self, columns};
use crate::audit::{Account, Counts, Event, Tally};
use crate::cli::audit::entry::hex;
use crate::cli::escaped::Escaped;
use crate::domain::audit::Decision;

const STYLE: &str = include_str!("style.css");

/// What the page may do: nothing but be styled by itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

pub(super) fn page(account: &Account, made: &str) -> String {
    let title = words::title(&account.scope);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (text(&title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (text(&title)) }
                p.made { "Vault " code { (account.vault.to_string()) } ". " (text(made)) }
                (verdict(account))
                (totals(&account.total))
                h2 { "By day" }
                (days(&account.by_day))
                h2 { "By officer" }
                (tally("Login", &account.by_actor, Clone::clone))
                h2 { "By case" }
                (tally("Case", &account.by_case, |case| case.clone().unwrap_or("(none)".to_owned())))
                (rotations(account))
                h2 { "Timeline" }
                (timeline(account))
                h2 { "What this shows" }
                ul.notes { @for note in words::NOTES { li { (text(note)) } } }
            }
        }
    };
    page.into_string()
}

fn verdict(account: &Account) -> Markup {
    let (holds, said) = words::verdict(account);
    let head = &account.verified.head;
    html! {
        section.verdict.broken[!holds] {
            h2 { @if holds { "✓ The log is verified" } @else { "✗ The log is NOT verified" } }
            ul {
                @for sentence in &said { li { (text(sentence)) } }
                @for finding in &account.verified.findings {
                    li.fault {
                        strong { "Fault" @if let Some(seq) = finding.seq { " at entry " (seq) } ": " }
                        (text(&finding.what)) " (" (text(&finding.word)) ")"
                    }
                }
                @for note in &account.verified.notes { li { "Note: " (text(&note.what)) " (" (note.count) " times)" } }
                li { "Last entry: " (head.seq) ", hash " code.hash { (hex(&head.hash)) } }
            }
        }
    }
}

fn totals(total: &Counts) -> Markup {
    html! {
        dl.totals {
            @for (title, number) in columns(total) {
                div.zero[number == 0] { dt { (title) } dd { (number) } }
            }
        }
    }
}

fn days(by_day: &Tally<Date>) -> Markup {
    let most = by_day.values().map(|counts| counts.values_opened.max(counts.refusals)).max().unwrap_or(0).max(1);
    // Tenths of a percent, of at most 1000.
    let share = |number: u64| {
        let tenths = u128::from(number) * 1000 / u128::from(most);
        format!("width:{}.{}%", tenths / 10, tenths % 10)
    };
    html! {
        div.wide { table.days {
            thead { tr { th { "Day (UTC)" } th { "Reads" } th { "Refusals" } th { "Values opened" } th.bars { span.key.opened {} " values opened " span.key.refused {} " refusals" } } }
            tbody { @for (day, counts) in by_day {
                tr {
                    td { (day.to_string()) }
                    td.number { (counts.reads) }
                    td.number { (counts.refusals) }
                    td.number { (counts.values_opened) }
                    td.bars {
                        div.bar.opened style=(share(counts.values_opened)) {}
                        div.bar.refused style=(share(counts.refusals)) {}
                    }
                }
            } }
        } }
    }
}

fn tally<K>(title: &str, tally: &Tally<K>, name: impl Fn(&K) -> String) -> Markup {
    html! {
        div.wide { table {
            thead { tr {
                th { (title) }
                @for (title, _) in columns(&Counts::default()) { th.number { (title) } }
            } }
            tbody { @for (key, counts) in tally {
                tr {
                    th scope="row" { (text(&name(key))) }
                    @for (_, number) in columns(counts) { td.number.zero[number == 0] { (number) } }
                }
            } }
        } }
    }
}

fn rotations(account: &Account) -> Markup {
    html! {
        @if !account.rotations.is_empty() {
            h2 { "Rotations of keys" }
            div.wide { table {
                thead { tr { @for title in words::ROTATION_TITLES { th { (title) } } } }
                tbody { @for rotated in &account.rotations {
                    tr { @for cell in words::rotation(rotated) { td { (text(&cell)) } } }
                } }
            } }
        }
    }
}

fn timeline(account: &Account) -> Markup {
    html! {
        @if account.timeline.is_empty() { p { "Nothing was recorded." } }
        ol.timeline { @for event in &account.timeline { (told(event)) } }
        @if let Some(sentence) = words::untold(account) { p { (text(&sentence)) } }
    }
}

fn told(event: &Event) -> Markup {
    let (outcome, decision) = (words::outcome(event), words::decision(event));
    let is_refused = event.decision == Some(Decision::Refused) || event.outcome.cut_off.is_some();
    let is_read = event.outcome.rows_opened > 0;
    html! {
        li.refused[is_refused].read[is_read] {
            div.when { time { (event.at.to_string()) } " · entry " (event.seq) }
            div.who {
                strong { (text(&event.actor)) } " · " (words::action(&event.action))
                @if let Some(case) = &event.case_id { " · case " (text(case)) }
                @if !decision.is_empty() { " " span.decision { (text(&decision)) } }
            }
            @if let Some(reason) = &event.reason { div.reason { "“" (text(reason)) "”" } }
            @if !event.what.is_empty() { div.what { (text(&event.what)) } }
            @if !outcome.is_empty() { div.outcome { (outcome) } }
            @if let Some(subject) = event.subject { div.subject { (subject.to_string()) } }
        }
    }
}

/// Of another's making.
fn text(text: &str) -> impl maud::Render {
    maud::display(Escaped(text).to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::account;
    use super::*;

    /// All that is no text.
    fn tags(page: &str) -> Vec<&str> {
        page.split('<').skip(1).map(|rest| rest.split_inclusive('>').next().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn what_people_write_adds_no_tag_and_no_attribute(hostile in r#"([<>&"'/=` a!-]|script|style|\PC){0,30}"#) {
            let (plain, page) = (super::page(&account("x"), "x"), super::page(&account(&hostile), "x"));
            prop_assert_eq!(tags(&page), tags(&plain));
            prop_assert!(!page.contains("=\"x"));
        }
    }

    #[test]
    fn the_page_loads_nothing_and_shows_what_was_written() {
        let page = page(&account("<script>alert(1)</script>\"'&\u{202e}"), "made");
        assert!(
            !page.contains("<script") && page.contains(r#"&lt;script&gt;alert(1)&lt;/script&gt;&quot;'&amp;\u{202e}"#)
        );
        for loads in ["http:", "https:", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(loads), "{loads}");
        }
    }
}
