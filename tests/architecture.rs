//! The layers of `src`, kept: every import, foreign crate, file that prints, and length.
#![expect(clippy::unwrap_used, reason = "what cannot be read here fails the test")]

#[path = "architecture/layers.rs"]
mod layers;
#[path = "architecture/self_tests.rs"]
mod self_tests;
#[path = "architecture/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use self::layers::broken_rules;
use self::source::Source;

/// The one place for each way of writing to the terminal: answers, progress, and log lines.
const PRINTING: [&str; 3] = ["src/cli/logging.rs", "src/cli/output.rs", "src/cli/progress.rs"];
const PRINTING_WORDS: [&str; 7] = ["print!", "println!", "eprint!", "eprintln!", "dbg!", "stdout", "stderr"];

const LONGEST: usize = 300;
/// Columns of a comment; of code, rustfmt sees to it.
const WIDEST: usize = 120;
/// Longer files, and why.
const LONG: [(&str, &str); 1] = [("tests/decoder/vectors.py", "one generator, which reads as the list of its vectors")];

#[test]
fn imports_follow_the_layers() {
    let (files, top_level, dependencies) = (sources(), top_level(), dependencies());
    let (top_level, crates) = (borrowed(&top_level), borrowed(&dependencies));
    let broken: Vec<_> = files
        .iter()
        .flat_map(|(path, (module, source))| {
            let broken = broken_rules(&borrowed(module), source, &top_level, &crates);
            broken.into_iter().map(move |rule| format!("{path}: {rule}"))
        })
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn only_these_files_write_to_the_terminal() {
    let files = sources();
    let printing: Vec<_> = files
        .iter()
        .filter(|(_, (_, source))| PRINTING_WORDS.iter().any(|word| source.words.contains(*word)))
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(printing, PRINTING);
}

#[test]
fn files_stay_short() {
    let lines = |path: &str| fs::read_to_string(root().join(path)).unwrap().lines().count();
    let written = |path: &String| ["rs", "py", "sh", "sql", "toml"].iter().any(|end| path.ends_with(end));
    let files = files_below("src").into_iter().chain(files_below("tests")).filter(written);
    let long: Vec<_> = files.filter(|path| lines(path) > LONGEST).collect();
    assert_eq!(long, LONG.map(|(path, _)| path), "split what is too long; say why where that cannot be");
}

#[test]
fn comments_are_no_wider_than_code() {
    let mut wide = Vec::new();
    for path in files_below("src").into_iter().filter(|path| path.ends_with(".rs")) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let lines = text.lines().enumerate();
        let is_wide = |line: &str| line.trim_start().starts_with("//") && line.chars().count() > WIDEST;
        wide.extend(lines.filter(|(_, line)| is_wide(line)).map(|(at, _)| format!("{path}:{}", at + 1)));
    }
    assert_eq!(wide, [""; 0], "wrap them");
}

/// Each file of `src` that is not for tests alone, with its module.
fn sources() -> BTreeMap<String, (Vec<String>, Source)> {
    let top_level = top_level();
    let mut read = BTreeMap::new();
    for path in files_below("src").into_iter().filter(|path| path.ends_with(".rs")) {
        let module = module_of(&path);
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let source = Source::read(&text, &borrowed(&module), &borrowed(&top_level)).unwrap();
        read.insert(path, (module, source));
    }
    let for_tests: BTreeSet<_> = read.values().flat_map(|(_, source)| source.test_modules.clone()).collect();
    read.retain(|_, (module, _)| !for_tests.iter().any(|tests| module.starts_with(tests)));
    assert!(read.len() > 40, "{} files", read.len());
    read
}

/// `src/etl/store.rs` is `etl::store`; `src/lib.rs` is the root.
fn module_of(path: &str) -> Vec<String> {
    let names = path.trim_start_matches("src/").trim_end_matches(".rs").split('/');
    names.filter(|name| !matches!(*name, "mod" | "lib")).map(str::to_owned).collect()
}

fn top_level() -> Vec<String> {
    let names: BTreeSet<_> = files_below("src").iter().filter_map(|path| module_of(path).first().cloned()).collect();
    names.into_iter().collect()
}

/// The names under `[dependencies]`, as paths write them.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest.split("\n[").find_map(|section| section.strip_prefix("dependencies]\n")).unwrap();
    let names = section.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let names: Vec<_> = names.map(|(name, _)| name.replace('-', "_")).collect();
    assert!(names.iter().any(|name| name == "aws_sdk_kms") && names.iter().any(|name| name == "diesel"), "{names:?}");
    names
}

/// Paths from the crate's folder, sorted.
fn files_below(folder: &str) -> Vec<String> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { collect(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    let relative = |path: PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let mut found: Vec<_> = found.into_iter().map(relative).collect();
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
