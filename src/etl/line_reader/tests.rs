use std::io::Write as _;

use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Number, since, body, and how it ended.
fn read(input: &[u8], from: u64) -> (Vec<(u64, u64, String)>, String) {
    let mut reader = LineReader::new(Cursor::new(input.to_vec()), from).unwrap();
    let mut lines = Vec::new();
    loop {
        let chunk = reader.chunk();
        lines.extend(chunk.lines.iter().map(|line| (line.number, line.since, line.body.to_string())));
        match chunk.end {
            End::Open => {}
            End::Reached { since, next } => return (lines, format!("{since} to {next}")),
            End::Failed(line, error) => return (lines, format!("line {line}: {:?}", error.kind())),
        }
    }
}

fn line(number: u64, since: u64, body: &str) -> (u64, u64, String) {
    (number, since, body.to_owned())
}

#[test]
fn blank_lines_count_and_are_passed_over() {
    let (lines, end) = read(b"a\n\n \t\r\nb\r\nc", 1);
    assert_eq!(lines, [line(1, 1, "a"), line(4, 2, "b\r"), line(5, 5, "c")]);
    assert_eq!(end, "6 to 6");
    assert_eq!(read(b"a\n\n\n", 1).1, "2 to 4");
    assert_eq!(read(b"", 1), (vec![], "1 to 1".to_owned()));
    assert_eq!(read(b"\n", 1), (vec![], "1 to 2".to_owned()));
}

#[test]
fn gzip_is_known_by_its_first_bytes_and_may_have_several_members() {
    let two = [gzip(b"a\nb"), gzip(b"c\nd\n")].concat();
    assert_eq!(read(&two, 1).0, [line(1, 1, "a"), line(2, 2, "bc"), line(3, 3, "d")]);
    assert_eq!(read(&gzip(b""), 1).0, []);
    assert_eq!(read(&[0x1f], 1).0.len(), 1, "too short to be gzip");
}

#[test]
fn reading_goes_on_from_a_line() {
    let all = b"a\nb\n\nd\n";
    assert_eq!(read(all, 2).0, [line(2, 2, "b"), line(4, 3, "d")]);
    assert_eq!(read(&gzip(all), 4), (vec![line(4, 4, "d")], "5 to 5".to_owned()));
    assert_eq!(read(all, 5), (vec![], "5 to 5".to_owned()));
    let beyond = LineReader::new(&all[..], 50).err().expect("there is no line 49 to go on from");
    assert_eq!(beyond.to_string(), "the input has only 4 lines");
}

#[test]
fn what_ends_early_gives_no_half_line() {
    // Random digits, so that there is enough of it to cut.
    let text: String = (0..2_000_u64).map(|n| format!("{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let whole = gzip(text.as_bytes());
    let (all, _) = read(&whole, 1);
    assert_eq!(all.len(), 2_000);
    for cut in [whole.len() - 1, whole.len() / 2, 11] {
        let (lines, end) = read(&whole[..cut], 1);
        assert!(end.ends_with("UnexpectedEof"), "{end}");
        assert!(lines.len() < 2_000 || cut == whole.len() - 1);
        assert_eq!(lines, all[..lines.len()]);
    }
    let garbage = [whole.as_slice(), b"garbage, and more of it"].concat();
    assert_eq!(read(&garbage, 1).1, "line 2001: InvalidInput");
}

#[test]
fn what_is_not_utf8_is_kept_in_base64() {
    let mut reader = LineReader::new(Cursor::new(b"\xff{\"a\"}\nok\n".to_vec()), 1).unwrap();
    let chunk = reader.chunk();
    let kept: serde_json::Value = serde_json::from_str(&chunk.lines[0].body).unwrap();
    assert_eq!(STANDARD.decode(kept["line_base64"].as_str().unwrap()).unwrap(), b"\xff{\"a\"}");
    assert_eq!(chunk.lines[0].refusal, Some(Reason::InvalidJson.into()));
    assert_eq!(chunk.lines[1].refusal, None);
}

#[test]
fn a_line_longer_than_a_message_can_be_is_passed_over_and_named() {
    for (length, kept) in [(LARGEST_BODY, true), (LARGEST_BODY + 1, false), (LARGEST_BODY * 3, false)] {
        for ending in ["", "\n", "\nafter"] {
            let text = format!("{}{ending}", "x".repeat(length));
            let mut reader = LineReader::new(Cursor::new(text.into_bytes()), 1).unwrap();
            let mut chunk = reader.chunk();
            if matches!(chunk.end, End::Open) {
                chunk.lines.extend(reader.chunk().lines);
            }
            let first = &chunk.lines[0];
            assert_eq!(first.body.len() == length, kept, "{length} {ending:?}");
            let long = Some(Reason::TooLong.into());
            assert_eq!(first.refusal, if kept { None } else { long });
            assert_eq!(chunk.lines.len(), 1 + usize::from(ending.len() > 1));
            assert!(chunk.lines.iter().skip(1).all(|line| *line.body == "after" && line.number == 2));
        }
    }
    // A blank line of that length is one as well.
    let (lines, _) = read(" ".repeat(LARGEST_BODY * 2).as_bytes(), 1);
    assert_eq!(lines, [line(1, 1, r#"{"line":1,"line_bytes":2097152}"#)]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    assert_eq!(read(b"\xef\xbb\xbfa\nb\n", 1).0, [line(1, 1, "a"), line(2, 2, "b")]);
    assert_eq!(read(b"a\n\xef\xbb\xbfb\n", 1).0, [line(1, 1, "a"), line(2, 2, "\u{feff}b")]);
}
