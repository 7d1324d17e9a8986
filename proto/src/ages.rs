//! Heartbeats of a page in a few bits each.
//!
//! A class of six-year-olds: say "six, give or take" once, and then only which children
//! differ and by how much. Sender and receiver predict each member's heartbeat
//! from the same references; what is sent is the *age*, predicted less actual heartbeat,
//! in rounds. In a cluster of 1,000 it is about normal(6, 1.3), in a small one
//! normal(2, 1). That has 2.0 to 2.4 bits of information per member, and this coder
//! spends 2.2 to 2.6 (`cargo run --release -p heartsay-proto --example entropy`).
//!
//! *Code.* Distances from a base become symbols, commonest first: 0, -1, 1, -2, 2 and so
//! on, with "left out" put in where its own frequency belongs. A symbol is a field of
//! `width` bits; a field of all ones means that more follows, which is coded in unary:
//! with width 1 a plain Rice code, wider ones a better fit to the round top of a normal
//! distribution.
//!
//! ```text
//! header  width:3  absent:1 [rank:4]  base: 0 value:4 | 1 length-1:6 zigzag:length
//! member  symbol s, most significant bit first, with D = 2^width - 1
//!         s <  D       s in `width` bits
//!         s <  D + 8   `width` ones, s - D ones, a zero
//!         otherwise    `width` + 8 ones, class:2, the rest in 4, 8, 16 or 32 bits
//! end     zero bits up to a whole byte
//! ```
//!
//! Width 0 has one symbol only and spends nothing on it: all members equal, or all
//! left out. Rank is the symbol that says "left out"; those from there on move up by one.
//!
//! *Weak spot.* A member far from its page (a skewed clock) costs 15 to 49 bits: dear, but
//! exact. *The one licence*: an age more than 2^31 - 256 rounds (68 years of seconds) from
//! the page's middle, or 2^40 from the line, is left out. The coder may omit, it never alters. *Road not taken*:
//! arithmetic coding, which would save 5 to 9 % (a few bytes a page) and
//! cost several times the time and code.

use core::fmt;
use core::ops::Range;

use crate::bits::{BitReader, BitWriter, ones};
use crate::error::DecodeError;

/// By how many rounds a member's heartbeat is behind what is predicted for it, negative when it is ahead; or that
/// nothing is said of it (down, or too far off).
///
/// One number of 64 bits, as thousands of them are gone through several times a second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Age(i64);

impl Age {
    /// Nothing is said.
    pub const LEFT_OUT: Self = Self(i64::MIN);
    /// Greatest age either way, in rounds: 35,000 years of seconds. Beyond it, nothing is said. Sums and differences of
    /// ages, and their products with any interval that the wire lets pass, cannot overflow.
    pub const FARTHEST: i64 = 1 << 40;

    /// So many rounds behind.
    #[must_use]
    pub const fn of(rounds: i64) -> Self {
        if rounds.unsigned_abs() <= Self::FARTHEST.unsigned_abs() { Self(rounds) } else { Self::LEFT_OUT }
    }

    /// Rounds behind if anything is said, and some number if not: for a caller that asks [`rounds`](Self::rounds) later.
    #[must_use]
    pub const fn rounds_or_any(self) -> i64 {
        self.0
    }

    /// Rounds behind, if anything is said.
    #[must_use]
    pub const fn rounds(self) -> Option<i64> {
        if self.0 == Self::LEFT_OUT.0 { None } else { Some(self.0) }
    }
}

impl From<Option<i64>> for Age {
    fn from(rounds: Option<i64>) -> Self {
        rounds.map_or(Self::LEFT_OUT, Self::of)
    }
}

impl fmt::Debug for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rounds().fmt(f)
    }
}

/// Appends the coded ages of a page's members, in order, to `out`. No members, no bytes.
pub fn encode(ages: &[Age], out: &mut Vec<u8>) {
    if ages.is_empty() {
        return;
    }
    let spread = Spread::of(ages);
    let code = spread.best_code();
    let mut bits = BitWriter::new(out);
    code.write_header(&mut bits);
    if code.width > 0 {
        let words = spread.words(code);
        for &age in ages {
            // Nearly all are near, and for those one lookup is enough.
            match words.get(place(spread.centre, age)) {
                Some(&(word, length)) if length > 0 => bits.put(word, length),
                _ => bits = spread.write_far(code, age, bits),
            }
        }
    }
    bits.finish();
}

/// Reads the ages of `count` members into `out`, replacing what it held.
///
/// Allocates for `count` members and no more, whatever the bytes say; the caller knows
/// the count from its own roster.
///
/// # Errors
/// [`DecodeError::AgesTruncated`], [`DecodeError::AgesTrailing`] or
/// [`DecodeError::AgesRange`]; `out` is then empty.
pub fn decode(bytes: &[u8], count: usize, out: &mut Vec<Age>) -> Result<(), DecodeError> {
    out.clear();
    let read = read(bytes, count, out);
    if read.is_err() {
        out.clear();
    }
    read
}

fn read(bytes: &[u8], count: usize, out: &mut Vec<Age>) -> Result<(), DecodeError> {
    let mut bits = BitReader::new(bytes);
    if count > 0 {
        let code = Code::read_header(&mut bits)?;
        let glance = Glance::of(code);
        out.resize(count, Age::LEFT_OUT);
        // Nearly all symbols are short, and for those one lookup is enough, four to a window.
        let (fours, rest) = out.as_chunks_mut::<4>();
        for four in fours {
            let (mut window, mut taken, mut all_short) = (bits.window(), 0, true);
            for to in &mut *four {
                let (age, length) = glance.at(window);
                *to = age;
                window <<= length;
                taken += length;
                all_short &= length > 0;
            }
            if all_short {
                bits.skip(taken)?;
            } else {
                bits = code.read_each(&glance, four, bits)?;
            }
        }
        bits = code.read_each(&glance, rest, bits)?;
    }
    bits.finish()
}

/// The parameters of one page: how symbols are spelled and what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Code {
    /// Bits of a field, 0..=7.
    width: u32,
    /// The symbol that says "left out", 0..=15, if any does.
    absent: Option<u64>,
    /// The age from which distances count.
    base: i64,
}

impl Code {
    /// Symbols below this take one field.
    const fn direct(self) -> u64 {
        (1 << self.width) - 1
    }

    fn symbol(self, age: i64) -> u64 {
        let symbol = zigzag(age.wrapping_sub(self.base));
        symbol + u64::from(self.absent.is_some_and(|rank| symbol >= rank))
    }

    fn age(self, symbol: u64) -> Result<Age, DecodeError> {
        let distance = match self.absent {
            Some(rank) if symbol == rank => return Ok(Age::LEFT_OUT),
            Some(rank) if symbol > rank => symbol - 1,
            Some(_) | None => symbol,
        };
        let rounds = self.base.checked_add(unzigzag(distance)).ok_or(DecodeError::AgesRange)?;
        Some(Age::of(rounds)).filter(|age| *age != Age::LEFT_OUT).ok_or(DecodeError::AgesRange)
    }

    fn write(self, symbol: u64, bits: &mut BitWriter<'_>) {
        match self.word(symbol) {
            Ok((word, length)) => bits.put(word, length),
            Err(far) => {
                bits.put(ones(self.width + UNARY_BITS), self.width + UNARY_BITS);
                write_far(far, bits);
            }
        }
    }

    /// How a symbol is spelled and in how many bits, or by how much it is beyond the unary part.
    fn word(self, symbol: u64) -> Result<(u64, u32), u64> {
        let Some(more) = symbol.checked_sub(self.direct()) else { return Ok((symbol, self.width)) };
        if let Some(far) = more.checked_sub(UNARY_MAX) {
            return Err(far);
        }
        let length = self.width + u32::try_from(more).unwrap_or(UNARY_BITS);
        Ok((ones(length) << 1, length + 1))
    }

    fn read(self, bits: &mut BitReader<'_>) -> Result<u64, DecodeError> {
        if self.width == 0 {
            return Ok(0);
        }
        let window = bits.window();
        let field = window >> (u64::BITS - self.width);
        if field < self.direct() {
            bits.skip(self.width)?;
            return Ok(field);
        }
        let more = (window << self.width).leading_ones();
        if more < UNARY_BITS {
            bits.skip(self.width + more + 1)?;
            return Ok(field + u64::from(more));
        }
        bits.skip(self.width + UNARY_BITS)?;
        Ok(field + UNARY_MAX + read_far(bits)?)
    }

    /// Ages one by one: the last few, and those of which some take more than a [`Glance`]. The reader is given and given
    /// back, so that it need not lie in memory for the sake of those few.
    #[cold]
    fn read_each<'a>(
        self,
        glance: &Glance,
        ages: &mut [Age],
        mut bits: BitReader<'a>,
    ) -> Result<BitReader<'a>, DecodeError> {
        for to in ages {
            let (age, length) = glance.at(bits.window());
            *to = if length > 0 {
                bits.skip(length)?;
                age
            } else {
                self.age(self.read(&mut bits)?)?
            };
        }
        Ok(bits)
    }

    fn write_header(self, bits: &mut BitWriter<'_>) {
        bits.put(u64::from(self.width), 3);
        match self.absent {
            Some(rank) => bits.put(1 << 4 | rank, 5),
            None => bits.put(0, 1),
        }
        match u64::try_from(self.base) {
            Ok(base) if base < SMALL_BASE => bits.put(base, 5),
            Ok(_) | Err(_) => {
                let base = zigzag(self.base);
                let length = (u64::BITS - base.leading_zeros()).max(1);
                bits.put(u64::from(1 << 6 | (length - 1)), 7);
                bits.put(base >> 32, length.saturating_sub(32));
                bits.put(base & ones(32), length.min(32));
            }
        }
    }

    fn read_header(bits: &mut BitReader<'_>) -> Result<Self, DecodeError> {
        let [.., width] = bits.take(3)?.to_be_bytes();
        let absent = if bits.take(1)? == 1 { Some(bits.take(4)?) } else { None };
        let base = if bits.take(1)? == 0 {
            bits.take(4)?.cast_signed()
        } else {
            let [.., length] = (bits.take(6)? + 1).to_be_bytes();
            let length = u32::from(length);
            let high = bits.take(length.saturating_sub(32))?;
            unzigzag(high << 32 | bits.take(length.min(32))?)
        };
        Ok(Self { width: u32::from(width), absent, base })
    }

    fn header_bits(self) -> u64 {
        let base = match u64::try_from(self.base) {
            Ok(base) if base < SMALL_BASE => 5,
            Ok(_) | Err(_) => 7 + u64::from((u64::BITS - zigzag(self.base).leading_zeros()).max(1)),
        };
        3 + if self.absent.is_some() { 5 } else { 1 } + base
    }
}

/// What the next symbol means, by the next eight bits: its age and its length, of those that are no longer.
struct Glance([(Age, u32); 1 << GLANCE]);

impl Glance {
    fn of(code: Code) -> Self {
        let mut glance = Self([(Age::LEFT_OUT, 0); _]);
        if code.width == 0 {
            return glance;
        }
        let mut rest = glance.0.as_mut_slice();
        // Words in the order of their symbols are in the order of their bits, and each begins all fields behind it.
        for symbol in 0..1 << GLANCE {
            let Ok((_, length @ 1..=GLANCE)) = code.word(symbol) else { break };
            let Ok(age) = code.age(symbol) else { break };
            let Some((fields, others)) = rest.split_at_mut_checked(1 << (GLANCE - length)) else { break };
            fields.fill((age, length));
            rest = others;
        }
        glance
    }

    fn at(&self, window: u64) -> (Age, u32) {
        let [first, ..] = window.to_be_bytes();
        self.0.get(usize::from(first)).copied().unwrap_or((Age::LEFT_OUT, 0))
    }
}

/// What is beyond the unary part, in the first class that holds it.
fn write_far(far: u64, bits: &mut BitWriter<'_>) {
    let classes = FAR_CLASSES.iter().zip(0..).take_while(|((start, _), _)| *start <= far);
    if let Some(((start, length), class)) = classes.last() {
        bits.put(class, 2);
        bits.put(far - start, *length);
    }
}

fn read_far(bits: &mut BitReader<'_>) -> Result<u64, DecodeError> {
    let class = usize::try_from(bits.take(2)?).ok().and_then(|class| FAR_CLASSES.get(class));
    let (start, length) = class.ok_or(DecodeError::AgesRange)?;
    Ok(start + bits.take(*length)?)
}

/// How the ages of a page are spread: all that the choice of a code needs.
struct Spread {
    /// The page's middle, from a sample.
    centre: i64,
    /// Members by age, from `centre - NEAR` to `centre + NEAR`.
    near: [u64; 2 * NEAR + 1],
    /// Where in `near` there are any.
    used: Range<usize>,
    members: u64,
    /// Members that are, or have to be, left out.
    absent: u64,
}

impl Spread {
    fn of(ages: &[Age]) -> Self {
        let members = ages.len() as u64;
        let centre = middle(ages);
        let mut spread = Self { centre, near: [0; _], used: NEAR..NEAR, members, absent: 0 };
        for &age in ages {
            match spread.near.get_mut(place(centre, age)) {
                Some(count) => *count += 1,
                None => spread.absent += u64::from(spread.reached(age).is_none()),
            }
        }
        let some = |count: &u64| *count > 0;
        if let (Some(first), Some(last)) =
            (spread.near.iter().position(some), spread.near.iter().rposition(some))
        {
            spread.used = first..last + 1;
        }
        spread
    }

    /// How each age of `near` is spelled that there is, and in how many bits; in none those that are far.
    fn words(&self, code: Code) -> [(u64, u32); 2 * NEAR + 1] {
        let mut words = [(0, 0); _];
        for (index, word) in words.iter_mut().enumerate().take(self.used.end).skip(self.used.start) {
            *word = code.word(code.symbol(self.base(index))).unwrap_or_default();
        }
        words
    }

    /// Writes what `words` does not hold: left out, or far. The writer is given and given back, so that it need not
    /// lie in memory for the sake of those few.
    #[cold]
    fn write_far<'a>(&self, code: Code, age: Age, mut bits: BitWriter<'a>) -> BitWriter<'a> {
        match self.reached(age) {
            Some(age) => code.write(code.symbol(age), &mut bits),
            None => code.write(code.absent.unwrap_or_default(), &mut bits),
        }
        bits
    }

    /// The rounds of an age, if it can be coded at all.
    fn reached(&self, age: Age) -> Option<i64> {
        age.rounds().filter(|rounds| rounds.abs_diff(self.centre) <= REACH)
    }

    /// The code with the fewest bits, over the bases around the median and all widths.
    fn best_code(&self) -> Code {
        if self.absent == self.members {
            return Code { width: 0, absent: Some(0), base: 0 };
        }
        let median = self.median();
        if self.near.get(median) == Some(&self.members) {
            return Code { width: 0, absent: None, base: self.base(median) };
        }
        let bases = [median, median.saturating_sub(1), (median + 1).min(2 * NEAR)];
        let codes = bases.into_iter().filter_map(|base| self.cheapest(base));
        // `bases` is not empty; the fallback would be correct too, only longer.
        let fallback = Code { width: 7, absent: Some(15), base: self.centre };
        codes.min_by_key(|(bits, _)| *bits).map_or(fallback, |(_, code)| code)
    }

    /// The cheapest width for one base (an index into `near`), with its cost in bits.
    fn cheapest(&self, base: usize) -> Option<(u64, Code)> {
        let mut counts = [0_u64; SYMBOLS];
        let (below, from) = self.near.split_at(base);
        let (lower, upper) = (base.saturating_sub(self.used.start), self.used.end.saturating_sub(base));
        counts.iter_mut().step_by(2).zip(from).take(upper).for_each(|(to, count)| *to = *count);
        let below = below.iter().rev().take(lower);
        counts.iter_mut().skip(1).step_by(2).zip(below).for_each(|(to, count)| *to = *count);
        let absent = (self.absent > 0).then(|| {
            let rank = counts.iter().take(RANK_MAX).position(|&count| count < self.absent);
            let rank = rank.unwrap_or(RANK_MAX);
            if let Some(moved) = counts.get_mut(rank..) {
                moved.rotate_right(1);
                moved.iter_mut().take(1).for_each(|count| *count = self.absent);
            }
            rank as u64
        });
        // Zigzag from the base, and one more for those left out.
        let symbols = (2 * upper.max(lower) + 1).max(RANK_MAX) + 1;
        let tails = Tails::of(counts.get(..symbols).unwrap_or(&counts));
        let age = self.base(base);
        let costs = (1..=7).map(|width| {
            let code = Code { width, absent, base: age };
            (code.header_bits() + self.members * u64::from(width) + tails.bits(width), code)
        });
        costs.min_by_key(|(bits, _)| *bits)
    }

    fn median(&self) -> usize {
        let half = self.near.iter().sum::<u64>() / 2;
        let mut passed = 0;
        let median = self.near.iter().position(|count| {
            passed += count;
            passed > half
        });
        median.unwrap_or(NEAR)
    }

    /// The age at an index of `near`.
    fn base(&self, index: usize) -> i64 {
        lowest(self.centre).saturating_add_unsigned(index as u64)
    }
}

/// Where an age stands in `near`, by the page's middle; beyond its end if it is not near.
fn place(centre: i64, age: Age) -> usize {
    // What is below the first, or left out, comes out as a huge number.
    usize::try_from(age.0.wrapping_sub(lowest(centre)).cast_unsigned()).unwrap_or(usize::MAX)
}

/// The age at the beginning of `near`.
fn lowest(centre: i64) -> i64 {
    centre.saturating_sub_unsigned(NEAR as u64)
}

/// Sums over the symbols from each one on, which give a width's cost without a loop.
struct Tails {
    /// Members whose symbol is at least this one.
    members: [u64; SYMBOLS],
    /// Sum of `members` from this symbol on.
    sums: [u64; SYMBOLS],
}

impl Tails {
    fn of(counts: &[u64]) -> Self {
        let mut tails = Self { members: [0; _], sums: [0; _] };
        let (mut members, mut sum) = (0, 0);
        let slots = tails.members.iter_mut().zip(&mut tails.sums);
        for (&count, (to_members, to_sum)) in counts.iter().zip(slots).rev() {
            members += count;
            sum += members;
            (*to_members, *to_sum) = (members, sum);
        }
        tails
    }

    /// Bits spent beyond the fields themselves. Members outside `near` are missing: they
    /// cost nearly the same under every code.
    fn bits(&self, width: u32) -> u64 {
        let at = |sums: &[u64; SYMBOLS], symbol: usize| sums.get(symbol).copied().unwrap_or_default();
        let direct = (1 << width) - 1;
        let far = direct + UNARY_BITS as usize;
        // Each member pays one bit for every step up to `far`, then class and rest.
        let unary = at(&self.sums, direct) - at(&self.sums, far);
        unary + 6 * at(&self.members, far) + 4 * at(&self.members, far + 16)
    }
}

/// Median of a few members' ages spread over the page. Off the mark it costs bits only.
fn middle(ages: &[Age]) -> i64 {
    let mut sample = [0; SAMPLE];
    let mut taken = 0;
    // Of a page of which nearly all are left out, those are taken that come first.
    let spread = ages.iter().step_by(1 + ages.len() / SAMPLE).filter_map(|age| age.rounds());
    let known = spread.chain(ages.iter().find_map(|age| age.rounds()));
    for (slot, rounds) in sample.iter_mut().zip(known) {
        *slot = rounds;
        taken += 1;
    }
    let sample = sample.get_mut(..taken).unwrap_or_default();
    sample.sort_unstable();
    sample.get(taken / 2).copied().unwrap_or_default()
}

/// 0, -1, 1, -2, 2 and so on to 0, 1, 2, 3, 4 and so on.
const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

const fn unzigzag(symbol: u64) -> i64 {
    (symbol >> 1).cast_signed() ^ -(symbol & 1).cast_signed()
}

/// Unary steps before a symbol counts as far. Fewer would make a normal distribution's
/// edges dearer, more would make every far symbol dearer; honest guess.
const UNARY_BITS: u32 = 8;
const UNARY_MAX: u64 = UNARY_BITS as u64;
/// Where each class of far symbols begins, and its bits. Each goes on where the one
/// before ends, so that every symbol has one spelling.
const FAR_CLASSES: [(u64, u32); 4] = [(0, 4), (16, 8), (16 + 256, 16), (16 + 256 + 65_536, 32)];
/// Bits by which a symbol is looked up.
const GLANCE: u32 = 8;
/// Greatest distance of an age from the page's middle, in rounds: its symbol, at most
/// twice as much and a little, then fits the last class.
const REACH: u64 = (1 << 31) - 256;
/// Ages this far from the middle, in rounds, are counted for the choice of a code. More
/// would fit odd pages better and cost every page time.
const NEAR: usize = 31;
/// Distances between any two near ages, to both sides, and "left out".
const SYMBOLS: usize = 4 * NEAR + 2;
/// Highest symbol for "left out": four bits of header.
const RANK_MAX: usize = 15;
/// Bases below this have a short header.
const SMALL_BASE: u64 = 16;
/// Members looked at to find the middle of a page; honest guess.
const SAMPLE: usize = 15;
