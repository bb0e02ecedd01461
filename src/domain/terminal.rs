/// Whether a character of another's making would drive a terminal or mislead who reads it: controls, and marks that are
/// not seen but change what is (Unicode 15: bidirectional, zero-width, tags).
#[must_use]
pub fn drives_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
