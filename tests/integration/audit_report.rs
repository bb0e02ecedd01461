//! `audit report`: what an auditor is told of a case and of a month, on paper that nobody's words can turn.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Finished, Story, Who, World, login};

fn report(world: &World, args: &[&str]) -> Finished {
    world.pii_vault(Who::Auditor, &[&["audit", "report", "--output", "json"], args].concat()).finish()
}

/// Where a report goes, for as long as the test runs.
struct Page(PathBuf);

impl Page {
    fn new(world: &World, name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("pii-vault-report-{}-{name}", world.id)))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn counts(summary: &Value, names: &[&str]) -> Vec<u64> {
    names.iter().map(|name| summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"))).collect()
}

/// The month of the log.
async fn month(world: &World) -> String {
    let sql = "SELECT to_char(max(at) AT TIME ZONE 'UTC', 'YYYY-MM') FROM pii_vault.audit_log";
    world.sql.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_told_by_case_and_by_month() {
    let story = Story::told().await;
    let world = &story.world;
    let page = Page::new(world, "case-1.html");
    let told = report(world, &["--case", "CASE-1", "--format", "html", "--out", page.path()]).done().json();
    let of = ["requests", "approvals", "reads", "rows_opened", "values_opened", "rows_failed", "refusals", "policies"];
    assert_eq!(counts(&told, &of), [1, 1, 1, 19, 38, 1, 0, 0], "{told}");
    // Request, approval and read; and the policy that held.
    assert_eq!((&told["verified"], &told["events"]), (&true.into(), &4.into()));
    let html = page.text();
    for said in ["The log is verified", "opened 19 rows, 38 values; 1 row did not open", "day 2026-01-01", "policy set"]
    {
        assert!(html.contains(said), "{said} in {html}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&page.0.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = report(world, &["--case", "CASE-1", "--out", page.path()]).exits(1);
    assert!(again.stderr.contains("not overwritten") && page.text() == html, "{}", again.stderr);

    let all = report(world, &["--month", &month(world).await]).done();
    let of = [
        "requests",
        "approvals",
        "denials",
        "revocations",
        "reads",
        "dry_runs",
        "values_opened",
        "lookups",
        "tokens",
        "refusals",
        "policies",
    ];
    assert_eq!(counts(&all.summary(), &of), [3, 2, 1, 1, 2, 1, 43, 1, 2, 2, 1], "{}", all.stderr);
    // Four pages are told with their reads, and the tokens with the look-up.
    assert_eq!(all.summary()["events"], 15);
    for said in
        ["# Access to originals", "## The log is verified", "| CASE-5 |", "2 tokens told", "refused\\: alone\\_limit"]
    {
        assert!(all.stdout.contains(said), "{said} in {}", all.stdout);
    }
    assert!(!all.stdout.contains(&"t".repeat(43)), "no token is in it");
    let none = report(world, &["--month", "2020-01"]).done();
    assert_eq!((&none.summary()["events"], &none.summary()["verified"]), (&0.into(), &true.into()));
    let usage = world.pii_vault(Who::Auditor, &["audit", "report"]).finish().exits(2);
    assert!(usage.stderr.contains("--case"), "{}", usage.stderr);
    let officer = world.pii_vault(Who::Officer, &["audit", "report", "--case", "CASE-1"]).finish().exits(1);
    assert!(officer.stderr.contains("pii_vault_auditor") && officer.stdout.is_empty(), "{}", officer.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_the_program_is_told_with_what_came_of_it_and_without_originals() {
    let world = World::vault().await;
    world.set_policy(100).await;
    world.send([login(1).to_string(), login(2).to_string()]).await;
    world.drain(&[]);
    let tokens: Vec<_> = world.opened_events().await.into_values().map(|event| event.ip_token).collect();
    let by = ["--user-id", "user-1", "--user-id", "user-2", "--masked-ip", &tokens[0], "--masked-ip", &tokens[1]];
    let run = world.unmask(&by).done();
    world.pii_vault(Who::Notary, &["audit", "checkpoint"]).finish().done();
    let key = Page::new(&world, "key.pem");
    std::fs::write(&key.0, world.pii_vault(Who::Auditor, &["audit", "public-key"]).finish().done().stdout).unwrap();
    for format in ["html", "markdown"] {
        let told = report(&world, &["--case", "C-1", "--format", format, "--public-key", key.path()]).done();
        assert_eq!(counts(&told.summary(), &["reads", "rows_opened", "values_opened"]), [1, 2, 4]);
        assert!(told.stdout.contains(run.summary()["receipt"].as_str().unwrap()) || format == "markdown");
        assert!(told.stdout.contains("All their signatures verify"), "{}", told.stdout);
        // Nor what was selected.
        for original in ["10.0.0.1", "device-1", "user-1", &tokens[0]] {
            assert!(!told.stdout.contains(original), "{original}");
        }
    }
    // Another key.
    let other = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n";
    std::fs::write(&key.0, other).unwrap();
    let wrong = report(&world, &["--case", "C-1", "--public-key", key.path()]).exits(4);
    assert!(wrong.stdout.contains("These signatures do not verify"), "{}", wrong.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_altered_is_told_as_such() {
    let story = Story::told().await;
    let world = &story.world;
    let tamper = "ALTER TABLE pii_vault.audit_log DISABLE TRIGGER ALL; UPDATE pii_vault.audit_log SET reason = 'nothing' WHERE seq = 8";
    world.sql.batch_execute(tamper).await.unwrap();
    let page = Page::new(world, "altered.html");
    // Also of a case that the alteration is not of.
    let told = report(world, &["--case", "CASE-3", "--format", "html", "--out", page.path()]).exits(4).json();
    assert_eq!(told["verified"], false);
    assert!(page.text().contains("The log is NOT verified") && page.text().contains("Fault at entry 8"));
    let told = report(world, &["--case", "CASE-3"]).exits(4);
    assert!(told.stdout.contains("THE LOG IS NOT VERIFIED") && told.stdout.contains("entry 8"), "{}", told.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_is_text_in_the_report() {
    let story = Story::begin().await;
    let world = &story.world;
    let reason = "</li><script>alert(1)</script> | **x** [y](javascript:z) \u{202e}\n# head";
    let case = "<img/src=x>|\"'&";
    let administrator = world.connect(Who::Administrator).await;
    let policy =
        "SET ROLE pii_vault_owner; SELECT pii_vault.set_policy(10, 1, 28800, '.+', 'scheduled', '<b>as</b> | agreed')";
    administrator.batch_execute(policy).await.unwrap();
    let sql = "SELECT pii_vault.request_access('{ip}', $1, $2, 5, 3600)::text";
    story.officer.query_one(sql, &[&reason, &case]).await.unwrap();
    let html = report(world, &["--case", case, "--format", "html"]).done().stdout;
    let shown = r"&lt;/li&gt;&lt;script&gt;alert(1)&lt;/script&gt; | **x** [y](javascript:z) \u{202e}\u{a}# head";
    assert!(html.contains(shown) && html.contains("&lt;img/src=x&gt;|&quot;'&amp;"), "{html}");
    assert!(html.contains("&lt;b&gt;as&lt;/b&gt;"));
    for hostile in ["<script", "<img", "<b>", "\u{202e}", "http:", "https:", "src=\"", "href="] {
        assert!(!html.contains(hostile), "{hostile} in {html}");
    }
    let markdown = report(world, &["--case", case]).done().stdout;
    let row = markdown.lines().find(|line| line.contains("grant requested")).unwrap();
    assert!(
        row.contains(
            r"\</li\>\<script\>alert(1)\</script\> \| \*\*x\*\* \[y\](javascript\:z) \\u\{202e\}\\u\{a\}# head"
        ),
        "{row}"
    );
    assert!(!markdown.lines().any(|line| line.starts_with("# head")), "{markdown}");
}
