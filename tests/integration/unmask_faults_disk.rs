//! The disk is full: under the audit log, and under what rows are written to.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::{Pages, ROWS};

/// A file system of 8 MiB, in memory.
struct Small(PathBuf);

impl Small {
    /// For who owns `like`. `None` where this process may not mount one, which is said.
    fn mount(pages: &Pages, like: &str) -> Option<Self> {
        let path = std::env::temp_dir().join(format!("pii-vault-small-{}", pages.world.id));
        fs::create_dir(&path).unwrap();
        let owner = fs::metadata(like).unwrap();
        let options = format!("size=8m,mode=700,uid={},gid={}", owner.uid(), owner.gid());
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        match mount {
            Ok(output) if output.status.success() => return Some(Self(path)),
            Ok(output) => skip(String::from_utf8_lossy(&output.stderr).trim_end()),
            Err(error) => skip(&error.to_string()),
        }
        fs::remove_dir(&path).unwrap();
        None
    }

    /// Leaves `free` bytes.
    fn fill(&self, free: u64) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).unwrap();
        std::io::copy(&mut File::open("/dev/zero").unwrap(), &mut filler).unwrap_err();
        let length = filler.metadata().unwrap().len();
        filler.set_len(length - free).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a server may still have a file open there.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
        fs::remove_dir(&self.0).ok();
    }
}

/// Past what captures a test's output, so that it is seen.
fn skip(why: &str) {
    use std::io::Write as _;
    let told = format!("skipped: a full disk under the audit log, because no file system can be mounted: {why}\n");
    std::io::stderr().write_all(told.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_has_no_room_records_nothing_and_nothing_comes() {
    let pages = Pages::new().await;
    let (sql, space) = (&pages.world.sql, format!("small_{}", pages.world.id));
    let data: String = sql.query_one("SELECT current_setting('data_directory')", &[]).await.unwrap().get(0);
    let Some(small) = Small::mount(&pages, &data) else { return };
    sql.batch_execute(&format!("CREATE TABLESPACE {space} LOCATION '{}'", small.0.display())).await.unwrap();
    // Every entry fills a block of 8 KiB, so that each finds the disk full.
    let pad = "ALTER TABLE pii_vault.audit_log ADD COLUMN padding text, ALTER COLUMN padding SET STORAGE PLAIN;
        CREATE FUNCTION public.pad() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            NEW.padding := repeat('x', 5000); RETURN NEW; END $$;
        CREATE TRIGGER pad BEFORE INSERT ON pii_vault.audit_log FOR EACH ROW EXECUTE FUNCTION public.pad()";
    sql.batch_execute(pad).await.unwrap();
    let home = |space: &str| format!("ALTER TABLE pii_vault.audit_log SET TABLESPACE {space}");
    sql.batch_execute(&home(&space)).await.unwrap();
    small.fill(0);
    let ended = pages.start("a full disk", true, &[]).ended(&pages.world).await;
    assert_eq!((ended.code, ended.recorded), (Some(1), false), "{}", ended.said);
    small.empty();
    small.fill(1 << 20);
    let run = pages.start("a disk that fills up", false, &[]);
    while pages.world.count("pii_vault.audit_log WHERE action = 'unmask'").await == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    small.fill(0);
    let ended = run.ended(&pages.world).await;
    assert_eq!((ended.code, ended.recorded), (Some(1), true), "{}", ended.said);
    sql.batch_execute(&home("pg_default")).await.unwrap();
    sql.batch_execute(&format!("DROP TABLESPACE {space}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_for_rows_holds_those_of_recorded_pages() {
    let pages = Pages::new().await;
    // In blocks of 512 bytes; a page is some 70,000 bytes.
    for (blocks, pages_settled) in [(1, 1), (200, 2), (100_000, 3)] {
        for (to_file, ignored) in [(true, true), (false, true), (true, false)] {
            // The log of the run goes to a file as well.
            let trap = if ignored { "trap '' XFSZ; " } else { "" };
            let script = format!(r#"{trap}ulimit -c 0; ulimit -f {blocks}; exec "$0" "$@""#);
            let what = format!("{blocks} blocks, {to_file}, {ignored}");
            let run = pages.start_through(&script, &what, to_file, &[("RUST_LOG", "off")]);
            let ended = run.ended(&pages.world).await;
            let all = pages_settled == 3;
            assert_eq!(ended.rows == ROWS, all, "{what}: {}", ended.said);
            assert_eq!(ended.settled, (pages_settled * 500).min(ROWS), "{what}: {}", ended.said);
            // Without the trap the system ends it, by SIGXFSZ.
            let code = if all { Some(0) } else { ignored.then_some(1) };
            assert_eq!(ended.code, code, "{what}: {}", ended.said);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_device_as_standard_output_ends_it_after_the_first_page() {
    let pages = Pages::new().await;
    let run = pages.start_through(r#"exec "$0" "$@" >/dev/full"#, "/dev/full", false, &[]);
    let ended = run.ended(&pages.world).await;
    assert_eq!((ended.code, ended.rows, ended.settled), (Some(1), 0, 500), "{}", ended.said);
    assert!(ended.said.contains("No space left"), "{}", ended.said);
}
