//! Laws of the digest coder, against a plain coder written from the layout alone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use heartsay_proto::ages::Age;
use heartsay_proto::{DecodeError, ages};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #[test]
    fn decoding_gives_back_what_was_encoded(page in any_page()) {
        prop_assert_eq!(decoded(&encoded(&page), page.len()).unwrap(), page);
    }

    #[test]
    fn wild_ages_may_be_left_out_but_are_never_altered(page in vec(proptest::option::of(any::<i64>()), 0..300)) {
        let back = decoded(&encoded(&page), page.len()).unwrap();
        for (was, is) in page.iter().zip(&back) {
            prop_assert!(is.is_none() || is == was, "{:?} became {:?}", was, is);
        }
    }

    #[test]
    fn reference_decoder_reads_the_same(page in any_page()) {
        let bytes = encoded(&page);
        let back = if page.is_empty() { Vec::new() } else { reference::decode(&bytes, page.len()) };
        prop_assert_eq!(back, page);
    }

    #[test]
    fn no_other_parameters_are_much_shorter(page in normal_page()) {
        let shortest = reference::shortest(&page).div_ceil(8);
        let taken = encoded(&page).len();
        // Two bytes: in a small page a header chosen for its typical member may be one longer, and so may the rest.
        prop_assert!(taken <= shortest + 2 + shortest / 50, "{taken} bytes, {shortest} are possible");
    }

    #[test]
    fn arbitrary_bytes_never_panic_nor_outgrow_the_count(bytes in vec(any::<u8>(), 0..200), count in 0_usize..500) {
        let mut out = vec![Age::of(1); 3];
        let result = ages::decode(&bytes, count, &mut out);
        prop_assert_eq!(out.len(), if result.is_ok() { count } else { 0 });
    }

    #[test]
    fn any_missing_or_additional_byte_is_an_error(page in any_page(), more in any::<u8>()) {
        let mut bytes = encoded(&page);
        for length in 0..bytes.len() {
            prop_assert!(decoded(&bytes[..length], page.len()).is_err(), "cut to {}", length);
        }
        bytes.push(more);
        prop_assert_eq!(decoded(&bytes, page.len()), Err(DecodeError::AgesTrailing));
    }

    #[test]
    fn padding_must_be_zero(page in any_page()) {
        let mut bytes = encoded(&page);
        let used = reference::bits_used(&bytes, page.len());
        for bit in used..bytes.len() * 8 {
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            prop_assert_eq!(decoded(&bytes, page.len()), Err(DecodeError::AgesTrailing));
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
        }
    }
}

#[test]
fn no_members_take_no_bytes() {
    assert!(encoded(&[]).is_empty());
    assert_eq!(decoded(&[], 0), Ok(vec![]));
    assert_eq!(decoded(&[0], 0), Err(DecodeError::AgesTrailing));
    assert_eq!(decoded(&[], 1), Err(DecodeError::AgesTruncated));
}

#[test]
fn page_of_equals_takes_two_bytes_whatever_its_size() {
    for page in [vec![Some(6); 10_000], vec![None; 10_000]] {
        let bytes = encoded(&page);
        assert_eq!(bytes.len(), 2);
        assert_eq!(decoded(&bytes, page.len()).unwrap(), page);
    }
}

#[test]
fn members_with_skewed_clocks_are_told_exactly() {
    let mut page = vec![Some(6); 128];
    page[3] = Some(-86_400);
    page[77] = Some(3_600);
    page[90] = Some(40);
    page[91] = None;
    let bytes = encoded(&page);
    assert_eq!(decoded(&bytes, page.len()).unwrap(), page);
    assert!(bytes.len() <= 128 / 8 + 20, "{} bytes", bytes.len());
}

#[test]
fn extremes_of_the_range_are_told_exactly() {
    for end in [-Age::FARTHEST, Age::FARTHEST] {
        let page: Vec<_> = (0..40).map(|step| Some(end - step * end.signum())).collect();
        assert_eq!(decoded(&encoded(&page), page.len()).unwrap(), page);
        assert_eq!(Age::of(end + end.signum()), Age::LEFT_OUT);
    }
}

#[test]
fn age_beyond_the_reach_is_left_out_and_the_others_stay() {
    let page = [Some(6), Some(7), Some(6 + (1 << 31)), Some(6), Some(i64::MIN), Some(5)];
    let back = decoded(&encoded(&page), page.len()).unwrap();
    assert_eq!(back, [Some(6), Some(7), None, Some(6), None, Some(5)]);
}

#[test]
fn age_beyond_the_farthest_is_refused() {
    let page = |base: i64, symbol: &str| {
        // Width 1, no member left out, base in 64 bits of zigzag.
        let zigzag = base.cast_unsigned() << 1;
        decoded(&reference::pack(&format!("001 0 1 111111 {zigzag:064b} {symbol}")), 1)
    };
    // Symbol 2 is one up, symbol 1 one down.
    assert_eq!(page(i64::MAX, "110"), Err(DecodeError::AgesRange));
    assert_eq!(page(Age::FARTHEST, "110"), Err(DecodeError::AgesRange));
    assert_eq!(page(Age::FARTHEST, "0"), Ok(vec![Some(Age::FARTHEST)]));
    assert_eq!(page(Age::FARTHEST + 1, "10"), Ok(vec![Some(Age::FARTHEST)]));
}

/// Pages as clusters have them, with left-out members and stragglers.
fn any_page() -> impl Strategy<Value = Vec<Option<i64>>> {
    let age = prop_oneof![
        20 => (0_i64..12).prop_map(Some),
        4 => Just(None),
        2 => (-100_i64..400).prop_map(Some),
        1 => (-1_000_000_i64..1_000_000).prop_map(Some),
    ];
    prop_oneof![normal_page(), vec(age, 0..200), vec(Just(None), 0..200)]
}

/// Near-normal ages of any middle and spread: sums of four dice.
fn normal_page() -> impl Strategy<Value = Vec<Option<i64>>> {
    let shape = (-5_i64..40, 1_i64..6, 0.0_f64..0.6, 1_usize..150);
    shape.prop_flat_map(|(middle, sides, absent, members)| {
        let age = vec(0..sides, 4).prop_map(move |dice| middle + dice.iter().sum::<i64>());
        vec(proptest::option::weighted(1.0 - absent, age), members)
    })
}

fn encoded(page: &[Option<i64>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let page: Vec<Age> = page.iter().copied().map(Age::from).collect();
    ages::encode(&page, &mut bytes);
    bytes
}

fn decoded(bytes: &[u8], count: usize) -> Result<Vec<Option<i64>>, DecodeError> {
    let mut out = Vec::new();
    ages::decode(bytes, count, &mut out)?;
    Ok(out.into_iter().map(Age::rounds).collect())
}

/// The layout in the plainest words: bits as characters.
mod reference {
    use std::iter::Peekable;
    use std::str::Chars;

    pub(super) fn decode(bytes: &[u8], count: usize) -> Vec<Option<i64>> {
        read(bytes, count).0
    }

    pub(super) fn bits_used(bytes: &[u8], count: usize) -> usize {
        if count == 0 { 0 } else { read(bytes, count).1 }
    }

    /// Bits of the shortest spelling with any width, rank and base inside the page.
    pub(super) fn shortest(page: &[Option<i64>]) -> usize {
        let known: Vec<i64> = page.iter().flatten().copied().collect();
        let low = known.iter().min().copied().unwrap_or(0);
        let high = known.iter().max().copied().unwrap_or(0);
        let ranks = [None].into_iter().chain((0..16).map(Some));
        let codes = ranks.flat_map(|rank| (0..8).map(move |width| (rank, width)));
        codes
            .flat_map(|code| (low..=high).map(move |base| (code, base)))
            .filter_map(|((rank, width), base)| cost(page, width, rank, base))
            .min()
            .unwrap()
    }

    fn cost(page: &[Option<i64>], width: usize, rank: Option<u64>, base: i64) -> Option<usize> {
        let mut bits = 4 + rank.map_or(0, |_| 4) + if (0..16).contains(&base) { 5 } else { 7 };
        if !(0..16).contains(&base) {
            bits += zigzag(base).max(1).ilog2() as usize + 1;
        }
        for age in page {
            let symbol = match (age, rank) {
                (None, None) => return None,
                (None, Some(rank)) => rank,
                (Some(age), rank) => {
                    let symbol = zigzag(age - base);
                    symbol + u64::from(rank.is_some_and(|rank| symbol >= rank))
                }
            };
            let direct = (1 << width) - 1;
            bits += match symbol {
                0 if width == 0 => 0,
                _ if width == 0 => return None,
                _ if symbol < direct => width,
                _ if symbol < direct + 8 => width + usize::try_from(symbol - direct).unwrap() + 1,
                _ if symbol < direct + 8 + 16 => width + 8 + 2 + 4,
                _ if symbol < direct + 8 + 16 + 256 => width + 8 + 2 + 8,
                _ => width + 8 + 2 + 16,
            };
        }
        Some(bits)
    }

    fn zigzag(value: i64) -> u64 {
        if value < 0 { value.unsigned_abs() * 2 - 1 } else { value.unsigned_abs() * 2 }
    }

    pub(super) fn pack(bits: &str) -> Vec<u8> {
        let bits: Vec<char> = bits.chars().filter(|c| !c.is_whitespace()).collect();
        let byte =
            |bits: &[char]| (0..8).fold(0, |byte, at| byte << 1 | u8::from(bits.get(at) == Some(&'1')));
        bits.chunks(8).map(byte).collect()
    }

    fn read(bytes: &[u8], count: usize) -> (Vec<Option<i64>>, usize) {
        let text: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
        let mut bits = text.chars().peekable();
        let width = number(&mut bits, 3);
        let rank = (number(&mut bits, 1) == 1).then(|| number(&mut bits, 4));
        let base = if number(&mut bits, 1) == 0 {
            i128::from(number(&mut bits, 4))
        } else {
            let length = number(&mut bits, 6) + 1;
            distance(number(&mut bits, length))
        };
        let mut ages = Vec::new();
        for _ in 0..count {
            let mut symbol = number(&mut bits, width);
            if width > 0 && symbol == (1 << width) - 1 {
                let mut ones = 0;
                while ones < 8 && bits.peek() == Some(&'1') {
                    ones += number(&mut bits, 1);
                }
                symbol += ones;
                if ones < 8 {
                    assert_eq!(number(&mut bits, 1), 0);
                } else {
                    symbol += match number(&mut bits, 2) {
                        0 => number(&mut bits, 4),
                        1 => 16 + number(&mut bits, 8),
                        2 => 16 + 256 + number(&mut bits, 16),
                        _ => 16 + 256 + 65_536 + number(&mut bits, 32),
                    };
                }
            }
            ages.push(match rank {
                Some(rank) if symbol == rank => None,
                Some(rank) if symbol > rank => Some(base + distance(symbol - 1)),
                _ => Some(base + distance(symbol)),
            });
        }
        let used = text.len() - bits.count();
        (ages.into_iter().map(|age| age.map(|age| i64::try_from(age).unwrap())).collect(), used)
    }

    fn number(bits: &mut Peekable<Chars<'_>>, count: u64) -> u64 {
        (0..count).fold(0, |number, _| number << 1 | u64::from(bits.next().unwrap() == '1'))
    }

    fn distance(symbol: u64) -> i128 {
        let half = i128::from(symbol / 2);
        if symbol.is_multiple_of(2) { half } else { -half - 1 }
    }
}
