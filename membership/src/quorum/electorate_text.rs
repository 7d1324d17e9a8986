//! The electorate as text, as an operator states it.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

use crate::identity::{Name, NameError};
use crate::quorum::electorate::{Electorate, MOST_VOTES, MOST_ZONES};

/// Why a text is not an electorate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElectorateError {
    /// Nothing to count.
    #[error("an electorate needs at least one vote")]
    Empty,
    /// Not a number, or one that is too large.
    #[error("{0:?} is not a number of votes (1 to {MOST_VOTES})")]
    Votes(String),
    /// A voter without a name, for example from an empty variable in a template: the others alone would have a majority
    /// too easily.
    #[error("a name is missing between commas, or before the first or after the last")]
    Gap,
    /// A voter named twice.
    #[error("{0} is named twice")]
    Twice(Name),
    /// A voter whose name breaks the rules.
    #[error("bad name: {0}")]
    Name(#[from] NameError),
    /// The word for an electorate that would follow the cluster. There is none (docs/decisions.md).
    #[error(
        "no electorate follows the cluster (last-agreed): state a number (5), names (a,b,c), a tag or zones, and a lower \
         number once the cluster is to stay smaller"
    )]
    Follows,
    /// A tag without a number of votes.
    #[error("write KEY=VALUE:VOTES, for example role=voter:3")]
    Tag,
    /// Zones that are not each given once, with their votes.
    #[error(
        "write zones:NAME=VOTES,NAME=VOTES, for example zones:east=5,west=5,north=3: at most {MOST_ZONES} zones, each once, \
         in their names no comma, colon, space, + or ="
    )]
    Zones,
    /// A tie that cannot be, or that this cannot decide.
    #[error("+tie={0}: {1}")]
    Tie(String, &'static str),
}

impl FromStr for Electorate {
    type Err = ElectorateError;

    fn from_str(text: &str) -> Result<Self, ElectorateError> {
        let text = text.trim();
        let Some((plain, tie)) = split_tie(text) else { return without_tie(text) };
        if split_tie(plain).is_some() {
            return Err(ElectorateError::Tie(tie.to_owned(), "one is enough"));
        }
        without_tie(plain)?.with_tie(tie)
    }
}

/// An electorate and what decides a tie. In a tag or among names the sign is a part of them.
fn split_tie(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(TIE).filter(|(_, tie)| !tie.contains([':', ',']))
}

fn without_tie(text: &str) -> Result<Electorate, ElectorateError> {
    if let Some(zones) = text.strip_prefix(ZONES) {
        return by_zones(zones, None);
    }
    // Among names it is one.
    if !text.contains(',') && text.split([':', '*', '=']).next() == Some(LAST_AGREED) {
        return Err(ElectorateError::Follows);
    }
    if let Some((tag, votes)) = text.split_once('=') {
        if let Some((value, zones)) = votes.split_once(TAG_ZONES).filter(|_| !tag.is_empty()) {
            return by_zones(zones, Some((tag.to_owned(), value.to_owned())));
        }
        let (value, votes) = votes.rsplit_once(':').ok_or(ElectorateError::Tag)?;
        if tag.is_empty() || value.is_empty() {
            return Err(ElectorateError::Tag);
        }
        return expected(votes, Some((tag.to_owned(), value.to_owned())));
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(',') {
        return expected(text, None);
    }
    let mut voters = BTreeMap::new();
    for voter in text.split(',').map(str::trim) {
        if voter.is_empty() {
            return Err(if text.is_empty() { ElectorateError::Empty } else { ElectorateError::Gap });
        }
        if voter.starts_with('-') {
            return Err(ElectorateError::Votes(voter.to_owned()));
        }
        let (name, votes) = match voter.rsplit_once(':') {
            Some((name, votes)) => (name, number(votes)?),
            None => (voter, 1),
        };
        let name = Name::new(name)?;
        if voters.insert(name.clone(), votes).is_some() {
            return Err(ElectorateError::Twice(name));
        }
    }
    Ok(Electorate::Voters(voters))
}

impl fmt::Display for Electorate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected { votes, tag, weight, tie } => {
                write_tag(f, tag.as_ref())?;
                write!(f, "{votes}")?;
                weight.as_ref().map_or(Ok(()), |weight| write!(f, "*{weight}"))?;
                tie.as_ref().map_or(Ok(()), |tie| write!(f, "{TIE}{tie}"))
            }
            Self::Zones { zones, tag, tie } => {
                write_tag(f, tag.as_ref())?;
                for (i, (zone, votes)) in zones.iter().enumerate() {
                    write!(f, "{}{zone}={votes}", if i == 0 { ZONES } else { "," })?;
                }
                tie.as_ref().map_or(Ok(()), |tie| write!(f, "{TIE}{tie}"))
            }
            Self::Voters(voters) => {
                for (i, (name, votes)) in voters.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{name}")?;
                    if *votes != 1 {
                        write!(f, ":{votes}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl Electorate {
    /// The same, where `tie` decides if the votes, or the zones, split evenly.
    fn with_tie(mut self, decides: &str) -> Result<Self, ElectorateError> {
        let refuse = |why| Err(ElectorateError::Tie(decides.to_owned(), why));
        match &mut self {
            Self::Expected { votes, .. } if !votes.is_multiple_of(2) => {
                return refuse("an odd number of votes cannot split evenly");
            }
            Self::Expected { tie, .. } => *tie = Some(Name::new(decides)?),
            Self::Zones { zones, .. } if !zones.len().is_multiple_of(2) => {
                return refuse("an odd number of zones cannot split evenly");
            }
            Self::Zones { zones, .. } if !zones.contains_key(decides) => {
                return refuse("is none of the zones");
            }
            Self::Zones { tie, .. } => *tie = Some(decides.to_owned()),
            Self::Voters(_) => {
                return refuse("give the voter that decides one vote more, for example a:2,b,c,d");
            }
        }
        Ok(self)
    }
}

fn write_tag(f: &mut fmt::Formatter<'_>, tag: Option<&(String, String)>) -> fmt::Result {
    tag.map_or(Ok(()), |(key, value)| write!(f, "{key}={value}:"))
}

fn by_zones(text: &str, tag: Option<(String, String)>) -> Result<Electorate, ElectorateError> {
    if tag.as_ref().is_some_and(|(_, value)| value.is_empty()) {
        return Err(ElectorateError::Tag);
    }
    let mut zones = BTreeMap::new();
    for zone in text.split(',').map(str::trim) {
        let (name, votes) = zone.split_once('=').ok_or(ElectorateError::Zones)?;
        let strange = |c: char| c.is_whitespace() || c.is_control() || ":+=".contains(c);
        let is_new = zones.insert(name.to_owned(), number(votes)?).is_none();
        if name.is_empty() || name.contains(strange) || !is_new {
            return Err(ElectorateError::Zones);
        }
    }
    match zones.len() {
        1..=MOST_ZONES => Ok(Electorate::Zones { zones, tag, tie: None }),
        _ => Err(ElectorateError::Zones),
    }
}

fn expected(text: &str, tag: Option<(String, String)>) -> Result<Electorate, ElectorateError> {
    let (votes, weight) = match text.split_once('*') {
        Some((votes, weight)) => (votes, Some(weight.to_owned())),
        None => (text, None),
    };
    Ok(Electorate::Expected { votes: number(votes)?, tag, weight, tie: None })
}

fn number(text: &str) -> Result<u32, ElectorateError> {
    match text.parse() {
        Ok(0) => Err(ElectorateError::Empty),
        Ok(votes) if votes <= MOST_VOTES => Ok(votes),
        _ => Err(ElectorateError::Votes(text.to_owned())),
    }
}

const ZONES: &str = "zones:";
/// Between a tag and zones.
const TAG_ZONES: &str = ":zones:";
/// Before the member or the zone that decides a tie.
const TIE: &str = "+tie=";
const LAST_AGREED: &str = "last-agreed";

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn an_electorate_parses_as_it_is_written() {
        let by_zones = [
            "4+tie=n1",
            "role=voter:8*weight+tie=n1",
            "zones:east=5,north=3,west=5",
            "zones:one=1",
            "role=voter:zones:east=3,west=3+tie=east",
        ];
        let by_votes = ["5", "role=voter:3", "7*weight", "role=voter:7*weight", "a,b,c:2", "a,last-agreed"];
        for text in by_votes.into_iter().chain(by_zones) {
            assert_eq!(text.parse::<Electorate>().unwrap().to_string(), text);
        }
        assert_eq!("b, a".parse::<Electorate>(), "a,b".parse());
        let mark = |text: &str, fence| text.parse::<Electorate>().unwrap().mark(fence);
        assert_ne!(mark("a,b", None), mark("2", None));
        let (short, long) = (Some(Duration::from_secs(1)), Some(Duration::from_secs(2)));
        assert!(mark("2", None) != mark("2", short) && mark("2", short) != mark("2", long));
        assert_eq!("a,b:2,c:2".parse::<Electorate>().unwrap().needed(), 3);
    }

    #[test]
    fn a_text_that_is_no_electorate_is_refused_with_the_reason() {
        use ElectorateError as E;
        let of = |text: &str| text.parse::<Electorate>().unwrap_err();
        assert_eq!(of("0"), E::Empty);
        assert_eq!(of(""), E::Empty);
        assert_eq!(of("3x"), E::Votes("3x".to_owned()));
        assert_eq!(of("a:0,b"), E::Empty);
        assert_eq!(of("-1"), E::Votes("-1".to_owned()));
        for text in ["a,,b", "a,", ",a", ","] {
            assert_eq!(of(text), E::Gap, "{text}");
        }
        assert_eq!(of("role=voter"), E::Tag);
        assert!(matches!(of("a,a"), E::Twice(_)));
    }

    #[test]
    fn an_electorate_that_would_follow_the_cluster_is_refused_and_no_voters_name() {
        for text in
            ["last-agreed", "last-agreed:5", "last-agreed:x", "last-agreed*votes", "last-agreed+tie=a"]
        {
            assert_eq!(text.parse::<Electorate>(), Err(ElectorateError::Follows), "{text}");
        }
        let said = ElectorateError::Follows.to_string();
        assert!(
            said.contains("no electorate follows the cluster") && said.contains("state a number"),
            "{said}"
        );
    }

    #[test]
    fn zones_and_ties_that_cannot_be_are_refused_with_the_reason() {
        use ElectorateError as E;
        let of = |text: &str| text.parse::<Electorate>().unwrap_err();
        for text in [
            "zones:",
            "zones:east",
            "zones:=3",
            "zones:a=1,a=2",
            "zones:a b=1",
            "zones:a:b=1",
            "zones:a=1,,b=1",
        ] {
            assert_eq!(of(text), E::Zones, "{text}");
        }
        assert_eq!(of("zones:east=0"), E::Empty);
        assert_eq!(of("zones:east=x"), E::Votes("x".to_owned()));
        assert_eq!(of("role=:zones:a=1"), E::Tag);
        let many: Vec<String> = (0..=MOST_ZONES).map(|zone| format!("z{zone}=1")).collect();
        assert_eq!(of(&format!("zones:{}", many.join(","))), E::Zones);
        for text in ["5+tie=a", "zones:a=1,b=1,c=1+tie=a", "zones:a=1,b=1+tie=c", "4+tie=a+tie=b"] {
            assert!(matches!(of(text), E::Tie(..)), "{text}");
        }
        let many = format!("4{}", "+tie=a".repeat(100_000));
        assert!(matches!(of(&many), E::Tie(..)), "whatever its length");
        assert!(of("a,b+tie=a").to_string().contains("a:2"));
        assert_eq!("role=x+tie=y:3".parse::<Electorate>().unwrap().votes(), 3, "a tag, as ever");
    }
}
