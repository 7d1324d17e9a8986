//! The digest coder: any bytes are refused or read within the count; what was read, and any other
//! page, comes back as it was.
#![no_main]

use heartsay_proto::ages::{self, Age};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, rest)) = bytes.split_first_chunk::<2>() else { return };
    let [low, high] = *head;
    let count = usize::from(u16::from_le_bytes([low, high & 0x0f]));
    let mut page = Vec::new();
    match ages::decode(rest, count, &mut page) {
        Ok(()) => assert_eq!(page.len(), count),
        Err(_) => {
            assert!(page.is_empty());
            page = members(rest);
        }
    }
    let (mut coded, mut back) = (Vec::new(), Vec::new());
    ages::encode(&page, &mut coded);
    ages::decode(&coded, page.len(), &mut back).expect("what was encoded is read");
    for (was, is) in page.iter().zip(&back) {
        assert!(*is == Age::LEFT_OUT || is == was, "{was:?} became {is:?}");
        // The licence to leave out is for ages far from their page only.
        let near = |age: &Age| age.rounds().is_none_or(|rounds| rounds.unsigned_abs() < 1 << 29);
        assert!(is == was || !page.iter().all(near), "{was:?} was left out");
    }
});

/// A page as clusters have it, and now and then not: one byte or nine a member.
fn members(mut bytes: &[u8]) -> Vec<Age> {
    let mut page = Vec::new();
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        page.push(Age::from(match byte {
            0..=199 => Some(i64::from(byte % 32)),
            200..=219 => None,
            220..=239 => Some(-i64::from(byte)),
            240..=255 => match bytes.split_first_chunk::<8>() {
                Some((wide, rest)) => {
                    bytes = rest;
                    // Of all lengths, not only the longest.
                    Some(i64::from_le_bytes(*wide) >> ((byte - 240) * 4))
                }
                None => None,
            },
        }));
    }
    page
}
