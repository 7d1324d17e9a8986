//! How times, shares, delays and choices of members are written in a scenario.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::sim_rng::SimRng;

/// A length of time: a number and one of `us`, `ms`, `s`, `m`, `h` (`"1.5s"`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// So many milliseconds.
    #[must_use]
    pub const fn ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// So many seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no length of time; write a number and us, ms, s, m or h, as in \"1.5s\"");
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let seconds = match unit.trim() {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        Duration::try_from_secs_f64(number * seconds).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0.as_secs_f64();
        match s {
            0.0 => f.write_str("0s"),
            s if s < 1e-3 => write!(f, "{}us", self.0.as_micros()),
            s if s < 1.0 => write!(f, "{}ms", (s * 1e6).round() / 1e3),
            s if s >= 60.0 && s % 60.0 == 0.0 => write!(f, "{}m", s / 60.0),
            s => write!(f, "{s}s"),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Which members: a number, a share, all, names, or zones.
#[derive(Clone, Debug, PartialEq)]
pub enum Who {
    /// So many, drawn by the run's seed.
    Count(usize),
    /// This share of the cluster (`"10%"`), rounded to the nearest, at least one.
    Share(f64),
    /// All members (`"all"`).
    All,
    /// These (`"n7"` or `["n7", "n9"]`).
    Named(Vec<String>),
    /// All members of these zones (`{ zone = "east" }` or `{ zone = ["east", "west"] }`), newcomers too.
    Zones(Vec<String>),
}

impl Who {
    /// How many of `n` that draws; `None`: the members are named, one by one or by zone.
    #[must_use]
    pub fn drawn(&self, n: usize) -> Option<usize> {
        match self {
            Self::Count(k) => Some((*k).min(n)),
            Self::Share(share) => Some(((n as f64 * share).round() as usize).clamp(1.min(n), n)),
            Self::All => Some(n),
            Self::Named(_) | Self::Zones(_) => None,
        }
    }

    /// The numbers of these members, of which `zones` holds each one's zone; `None`: they are drawn, or all.
    #[must_use]
    pub fn named<'a>(&self, zones: impl Iterator<Item = Option<&'a str>>) -> Option<Vec<usize>> {
        match self {
            Self::Named(names) => Some(names.iter().filter_map(|name| number(name)).collect()),
            Self::Zones(names) => {
                let inside = |zone: &Option<&str>| zone.is_some_and(|zone| names.iter().any(|n| n == zone));
                Some(zones.enumerate().filter(|(_, zone)| inside(zone)).map(|(member, _)| member).collect())
            }
            Self::Count(_) | Self::Share(_) | Self::All => None,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(k) => write!(f, "{k}"),
            Self::Share(share) => write!(f, "{}%", (share * 1e4).round() / 1e2),
            Self::All => f.write_str("all"),
            Self::Named(names) => f.write_str(&names.join(", ")),
            Self::Zones(names) => write!(f, "zone {}", names.join(", ")),
        }
    }
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Who;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of members, a share like \"10%\", \"all\", a name, a list of names, or { zone = \"…\" }")
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Who, E> {
                match usize::try_from(n) {
                    Ok(n) if n > 0 => Ok(Who::Count(n)),
                    _ => Err(E::custom(format!("{n} members make no sense here; at least 1"))),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Who, E> {
                if text == "all" {
                    return Ok(Who::All);
                }
                let Some(share) = text.strip_suffix('%') else {
                    return Ok(Who::Named(vec![text.to_owned()]));
                };
                match share.trim().parse::<f64>() {
                    Ok(share) if share > 0.0 && share <= 100.0 => Ok(Who::Share(share / 100.0)),
                    _ => Err(E::custom(format!("{text:?} is no share; write \"1%\" to \"100%\""))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Who, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(Who::Named(names))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Who, A::Error> {
                let Place { zone } = Place::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Who::Zones(match zone {
                    Zones::One(name) => vec![name],
                    Zones::Several(names) => names,
                }))
            }
        }
        d.deserialize_any(Reader)
    }
}

/// Where members are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    zone: Zones,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "the name of a zone or a list of names")]
enum Zones {
    One(String),
    Several(Vec<String>),
}

/// The number of the member of this name.
pub(super) fn number(name: &str) -> Option<usize> {
    // Not 07 nor +7: a member has one name.
    let number = name.strip_prefix('n')?.parse().ok()?;
    (format!("n{number}") == name).then_some(number)
}

/// How long something takes, drawn anew each time.
#[derive(Clone, Debug, PartialEq)]
pub enum Delay {
    /// Always the same (`"500us"`).
    Constant(Span),
    /// Uniform between two bounds (`{ uniform = { low = "1ms", high = "5ms" } }`).
    Uniform(Span, Span),
    /// Normal, cut at zero (`{ normal = { mean = "100ms", deviation = "10ms" } }`).
    Normal(Span, Span),
    /// Log-normal: `median * exp(sigma * normal)` (`{ log-normal = { median = "1ms", sigma = 0.5 } }`).
    LogNormal(Span, f64),
    /// Drawn from measured values (`{ trace = ["1ms", "1ms", "9ms"] }`).
    Trace(Vec<Span>),
}

impl Delay {
    /// One draw.
    pub fn draw(&self, dice: &mut SimRng) -> Duration {
        match self {
            Self::Constant(span) => span.0,
            Self::Uniform(low, high) => low.0 + dice.within(high.0.saturating_sub(low.0)),
            Self::Normal(mean, deviation) => {
                seconds(mean.0.as_secs_f64() + deviation.0.as_secs_f64() * dice.normal())
            }
            Self::LogNormal(median, sigma) => {
                seconds(median.0.as_secs_f64() * libm::exp(sigma * dice.normal()))
            }
            Self::Trace(values) => values.get(dice.below(values.len())).map_or(Duration::ZERO, |span| span.0),
        }
    }
}

/// A draw as a duration; negative and absurd draws are cut to `0 ..= 1 h`.
fn seconds(draw: f64) -> Duration {
    Duration::from_secs_f64(draw.clamp(0.0, 3600.0))
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Delay;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time or a table with uniform, normal, log-normal or trace")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Delay, E> {
                text.parse().map(Delay::Constant).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Delay, A::Error> {
                Ok(match Shape::deserialize(MapAccessDeserializer::new(map))? {
                    Shape::Uniform { low, high } if low <= high => Delay::Uniform(low, high),
                    Shape::Uniform { low, high } => {
                        return Err(de::Error::custom(format!("low {low} is above high {high}")));
                    }
                    Shape::Normal { mean, deviation } => Delay::Normal(mean, deviation),
                    Shape::LogNormal { median, sigma } => Delay::LogNormal(median, sigma),
                    Shape::Trace(values) if values.is_empty() => {
                        return Err(de::Error::custom("a trace needs at least one value"));
                    }
                    Shape::Trace(values) => Delay::Trace(values),
                })
            }
        }
        d.deserialize_any(Reader)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Shape {
    Uniform { low: Span, high: Span },
    Normal { mean: Span, deviation: Span },
    LogNormal { median: Span, sigma: f64 },
    Trace(Vec<Span>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_rng::Seed;

    #[test]
    fn spans_are_read_and_written_alike() {
        for text in ["500us", "20ms", "1.5s", "2m", "0s"] {
            assert_eq!(text.parse::<Span>().map(|s| s.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "5", "s", "5 parsecs", "-1s", "1e9h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_member_has_one_name() {
        let named = |name: &str| Who::Named(vec![name.to_owned()]).named([].into_iter());
        assert_eq!(named("n17"), Some(vec![17]));
        for other in ["17", "n", "n017", "n+17", "east"] {
            assert_eq!(named(other), Some(vec![]), "{other}");
        }
        assert_eq!(Who::All.named([].into_iter()), None);
    }

    #[test]
    fn a_zone_means_all_that_are_in_it() {
        let zones = || ["east", "west", "east", "south"].into_iter().map(Some).chain([None]);
        let who = |names: &[&str]| Who::Zones(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(who(&["east"]).named(zones()), Some(vec![0, 2]));
        assert_eq!(who(&["south", "west"]).named(zones()), Some(vec![1, 3]));
        assert_eq!(who(&["north"]).named(zones()), Some(vec![]));
        assert_eq!(who(&["east", "west"]).to_string(), "zone east, west");
    }

    #[test]
    fn shares_are_at_least_one_member() {
        assert_eq!(Who::Share(0.01).drawn(128), Some(1));
        assert_eq!(Who::Share(0.01).drawn(8), Some(1));
        assert_eq!(Who::Share(0.5).drawn(7), Some(4));
        assert_eq!(Who::Count(9).drawn(3), Some(3));
    }

    #[test]
    fn delays_draw_what_they_say() {
        let mut dice = Seed(1).dice("test", 0);
        let ms = Duration::from_millis;
        for _ in 0..1000 {
            let drawn = Delay::Uniform(Span::ms(1), Span::ms(5)).draw(&mut dice);
            assert!((ms(1)..=ms(5)).contains(&drawn));
            let drawn = Delay::Trace(vec![Span::ms(3), Span::ms(9)]).draw(&mut dice);
            assert!(drawn == ms(3) || drawn == ms(9));
        }
        let mut draws: Vec<_> =
            (0..999).map(|_| Delay::LogNormal(Span::ms(10), 0.5).draw(&mut dice)).collect();
        draws.sort();
        assert!((ms(9)..ms(11)).contains(&draws[500]), "median {:?}", draws[500]);
    }
}
