use super::*;

#[test]
fn a_text_is_one_line_that_says_what_it_seems_to_say() {
    let hostile = "disk\n\u{1b}[2Jfull\r\u{202e}gnp\u{2066}x\u{200f}";
    assert_eq!(cleaned(hostile, 100), "disk\u{fffd}\u{fffd}[2Jfull\u{fffd}\u{fffd}gnp\u{fffd}x\u{fffd}");
    assert_eq!(cleaned("Größe: 5 µs, 日本", 100), "Größe: 5 µs, 日本");
}

#[test]
fn a_text_is_cut_between_characters() {
    assert_eq!(cleaned("aé", 2), "a");
    assert_eq!(cleaned("aé", 3), "aé");
    assert_eq!(cleaned(&"x".repeat(5000), MOST_TEXT).len(), MOST_TEXT);
    assert_eq!(cleaned("x", 0), "");
}
