//! What `wait --for` can wait for, and whether a picture of the cluster shows it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::api::tag::WantedTag;
use crate::client::View;
use crate::services::ServiceName;
use crate::types::STATUSES;

/// What is known of the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    /// Its members.
    pub(super) view: View,
    /// How many instances of a service are passing, of the services that are asked for.
    pub(super) healthy: BTreeMap<ServiceName, usize>,
}

/// Conditions that must hold at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct All(pub(super) Vec<Condition>);

/// One thing to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// `alive{role=web}>=3`: how many members have a status, or are known at all.
    Count {
        /// `None` counts all members.
        status: Option<&'static str>,
        /// Tags that they must have, all of them.
        tags: Vec<WantedTag>,
        /// How to compare.
        compare: Compare,
        /// With what.
        number: usize,
    },
    /// `healthy(postgres)>=2`: how many instances of a service are passing, on members that are alive.
    Healthy {
        /// Which service.
        service: ServiceName,
        /// How to compare.
        compare: Compare,
        /// With what.
        number: usize,
    },
    /// `quorum`: this agent stands on the side that may act.
    Quorum,
    /// `joined`: the agent has had its first complete view.
    Joined,
    /// `fenced(n3)`: the lease that a member had has run out for certain.
    Fenced(String),
    /// `n3=down`: a member has a status.
    Member {
        /// Who.
        name: String,
        /// Which.
        status: &'static str,
    },
}

/// How to compare a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `==`
    Exactly,
    /// `>`
    MoreThan,
    /// `<`
    FewerThan,
}

impl Condition {
    /// Whether the picture shows it.
    pub(super) fn holds(&self, picture: &Picture) -> bool {
        match self {
            Self::Count { status, tags, compare, number } => {
                compare.holds(counted(&picture.view, *status, tags), *number)
            }
            Self::Healthy { service, compare, number } => {
                picture.healthy.get(service).is_some_and(|n| compare.holds(*n, *number))
            }
            Self::Quorum => picture.view.holds_quorum(),
            Self::Joined => picture.view.joined,
            Self::Fenced(name) => picture.view.fenced.contains(name),
            Self::Member { name, status } => {
                picture.view.members.get(name).is_some_and(|seen| seen.status == *status)
            }
        }
    }

    /// What the picture shows instead, or as well: `2 alive`, `n3 is suspect`.
    pub(super) fn now(&self, picture: &Picture) -> String {
        let Picture { view: picture, healthy } = picture;
        match self {
            Self::Healthy { service, .. } => match healthy.get(service) {
                Some(n) => format!("{n} healthy({service})"),
                None => format!("healthy({service}) is unknown"),
            },
            Self::Count { status, tags, .. } => {
                let n = counted(picture, *status, tags);
                format!("{n} {}{}", status.unwrap_or("members"), braces(tags))
            }
            Self::Quorum => match &picture.quorum {
                None => "quorum is unknown".to_owned(),
                Some(quorum) if quorum.quorum == "held" => "quorum is held".to_owned(),
                Some(quorum) => format!("quorum is {}: {}", quorum.quorum, quorum.reason),
            },
            Self::Joined => if picture.joined { "joined" } else { "not joined" }.to_owned(),
            Self::Fenced(name) => {
                let not = if picture.fenced.contains(name) { "" } else { "not " };
                format!("{name} is {not}fenced")
            }
            Self::Member { name, .. } => match picture.members.get(name) {
                Some(seen) => format!("{name} is {}", seen.status),
                None => format!("{name} is unknown"),
            },
        }
    }
}

impl Compare {
    fn sign(self) -> &'static str {
        COMPARISONS.iter().find(|(_, compare)| *compare == self).map_or("?", |(sign, _)| sign)
    }

    fn holds(self, n: usize, number: usize) -> bool {
        match self {
            Self::AtLeast => n >= number,
            Self::AtMost => n <= number,
            Self::Exactly => n == number,
            Self::MoreThan => n > number,
            Self::FewerThan => n < number,
        }
    }
}

impl FromStr for All {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split("&&").map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text {
            "" => return Err(format!("a condition is missing; {GRAMMAR}")),
            "quorum" => return Ok(Self::Quorum),
            "joined" => return Ok(Self::Joined),
            _ => {}
        }
        if let Some(name) = text.strip_prefix("fenced(").and_then(|rest| rest.strip_suffix(')')) {
            let name = name.trim();
            return match name.is_empty() || name.contains(char::is_whitespace) {
                true => Err(format!("{name:?} is no name in {text:?}; {GRAMMAR}")),
                false => Ok(Self::Fenced(name.to_owned())),
            };
        }
        if let Some(rest) = text.strip_prefix("healthy(") {
            return healthy_condition(text, rest);
        }
        if let Some(member) = text.strip_prefix("member:") {
            return member_condition(member);
        }
        match count_condition(text)? {
            Some(condition) => Ok(condition),
            None => member_condition(text),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { status, tags, compare, number } => {
                write!(f, "{}{}{}{number}", status.unwrap_or("members"), braces(tags), compare.sign())
            }
            Self::Healthy { service, compare, number } => {
                write!(f, "healthy({service}){}{number}", compare.sign())
            }
            Self::Quorum => f.write_str("quorum"),
            Self::Joined => f.write_str("joined"),
            Self::Fenced(name) => write!(f, "fenced({name})"),
            Self::Member { name, status } => write!(f, "{name}={status}"),
        }
    }
}

/// `alive>=3`, `down{role=db,rack}==0`; `None` for what does not begin like one.
fn count_condition(text: &str) -> Result<Option<Condition>, String> {
    let end = text.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(text.len());
    let (what, rest) = text.split_at(end);
    let (Some(status), rest) = (countable(what), rest.trim_start()) else { return Ok(None) };
    let (tags, rest) = match rest.strip_prefix('{') {
        Some(inside) => {
            let Some((inside, rest)) = inside.split_once('}') else {
                return Err(format!("a }} is missing in {text:?}; {GRAMMAR}"));
            };
            (
                tags_inside(inside)
                    .ok_or_else(|| format!("{inside:?} are no tags in {text:?}; {GRAMMAR}"))?,
                rest,
            )
        }
        None => (Vec::new(), rest),
    };
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Err(format!(
            "{text:?} compares with nothing; the shell takes > for itself, so quote it: --for 'alive>=3'"
        ));
    }
    if let Some(number) = rest.strip_prefix('=').filter(|number| number.trim().parse::<usize>().is_ok()) {
        let counted = text.strip_suffix(rest).unwrap_or_default().trim_end();
        return Err(format!("{text:?} is no condition, but {counted}=={} is; {GRAMMAR}", number.trim()));
    }
    let compared = comparison(text, rest)?;
    Ok(compared.map(|(compare, number)| Condition::Count { status, tags, compare, number }))
}

/// `postgres)>=2`, behind `healthy(`.
fn healthy_condition(text: &str, rest: &str) -> Result<Condition, String> {
    let Some((name, rest)) = rest.split_once(')') else {
        return Err(format!("a ) is missing in {text:?}; {GRAMMAR}"));
    };
    let service = name.trim().parse().map_err(|e: String| format!("{e}; {GRAMMAR}"))?;
    let Some((compare, number)) = comparison(text, rest.trim_start())? else {
        return Err(format!("{text:?} compares with nothing: write healthy({service})>=1; {GRAMMAR}"));
    };
    Ok(Condition::Healthy { service, compare, number })
}

/// `>=2`, the rest of `text`; `None`: it begins with no comparison.
fn comparison(text: &str, rest: &str) -> Result<Option<(Compare, usize)>, String> {
    let sign = |(sign, compare): &(&str, Compare)| Some((rest.strip_prefix(sign)?.trim(), *compare));
    let Some((right, compare)) = COMPARISONS.iter().find_map(sign) else { return Ok(None) };
    let number = right.parse().map_err(|_| format!("{right:?} is no number in {text:?}; {GRAMMAR}"))?;
    Ok(Some((compare, number)))
}

/// `role=web,rack`
fn tags_inside(text: &str) -> Option<Vec<WantedTag>> {
    text.split(',').map(|tag| tag.trim().parse().ok()).collect()
}

/// As it is written; nothing for no tags.
fn braces(tags: &[WantedTag]) -> String {
    let inside = tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    if inside.is_empty() { inside } else { format!("{{{inside}}}") }
}

fn member_condition(text: &str) -> Result<Condition, String> {
    // From the right: a name may hold `=`, a status cannot.
    let Some((name, status)) = text.rsplit_once('=') else {
        return Err(format!("{text:?} is no condition; {GRAMMAR}"));
    };
    let name = name.trim().trim_end_matches('=').trim_end();
    let Some(status) = word(status.trim()) else {
        return Err(format!("{:?} is no status in {text:?}; {GRAMMAR}", status.trim()));
    };
    if name.is_empty() || name.contains(char::is_whitespace) || name.ends_with(['<', '>', '!']) {
        return Err(format!("{name:?} is no name in {text:?}; {GRAMMAR}"));
    }
    Ok(Condition::Member { name: name.to_owned(), status })
}

/// `Some(None)` for all members, `None` for what cannot be counted.
fn countable(text: &str) -> Option<Option<&'static str>> {
    if text == "members" { Some(None) } else { word(text).map(Some) }
}

fn word(text: &str) -> Option<&'static str> {
    STATUSES.into_iter().find(|w| *w == text)
}

fn counted(picture: &View, status: Option<&str>, tags: &[WantedTag]) -> usize {
    let members = picture.members.values().filter(|seen| status.is_none_or(|wanted| wanted == seen.status));
    members.filter(|seen| tags.iter().all(|tag| tag.is_in(&seen.tags))).count()
}

/// Longer signs first, so that `>=` is not read as `>`.
const COMPARISONS: [(&str, Compare); 5] = [
    (">=", Compare::AtLeast),
    ("<=", Compare::AtMost),
    ("==", Compare::Exactly),
    (">", Compare::MoreThan),
    ("<", Compare::FewerThan),
];

/// Shown with every refusal.
const GRAMMAR: &str = "write alive>=3 or alive{role=web,rack=1}>=3 (or suspect, down, left, members; >= <= == > <), quorum, \
                       joined, NAME=down, fenced(NAME), or healthy(SERVICE)>=1, and && between several";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Seen;

    fn picture() -> Picture {
        let members = [("n1", "alive"), ("n2", "alive"), ("n3", "down"), ("a=b", "left")];
        let tags = |name: &str| match name {
            "n1" => [("role".to_owned(), "web".to_owned()), ("rack".to_owned(), "1".to_owned())].into(),
            "n2" => [("role".to_owned(), "db".to_owned())].into(),
            _ => BTreeMap::new(),
        };
        let members = members
            .map(|(n, s)| (n.to_owned(), Seen { status: s.to_owned(), tags: tags(n), ..Seen::default() }))
            .into();
        let view = View { members, fenced: ["n3".to_owned()].into(), quorum: None, joined: true };
        Picture { view, healthy: [("db".parse().unwrap(), 2)].into() }
    }

    #[test]
    fn conditions_are_read_and_judged() {
        for (text, holds) in [
            ("alive>=2", true),
            ("alive >= 3", false),
            ("alive<=2", true),
            ("alive==2", true),
            ("alive>2", false),
            ("alive<3", true),
            ("suspect==0", true),
            ("members>=4", true),
            ("members==4 && down==1", true),
            ("members==4&&down==0", false),
            ("joined", true),
            ("quorum", false),
            ("n3=down", true),
            ("fenced(n3) && quorum", false),
            ("fenced( n3 )", true),
            ("fenced(n1)", false),
            ("n3 = down", true),
            ("n3==down", true),
            ("member:n3=down", true),
            ("member:alive=down", false),
            ("a=b=left", true),
            ("n4=down", false),
            ("alive{role=web}>=1", true),
            ("alive{role=web}>=2", false),
            ("alive{role}==2", true),
            ("alive { role=web, rack=1 } == 1", true),
            ("alive{role=db,rack}==1", false),
            ("down{role=web}==0 && members{role}>1", true),
            ("alive{role=web=x}==0", true),
            ("healthy(db)>=2", true),
            ("healthy( db ) == 2 && joined", true),
            ("healthy(db)<2", false),
            ("healthy(web)==0", false),
        ] {
            let all: All = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(all.0.iter().all(|c| c.holds(&picture())), holds, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_the_grammar() {
        for text in [
            "",
            "&&",
            "alive",
            "alive>=",
            "alive>=x",
            "alive>=-1",
            "n3=gone",
            "fenced()",
            "fenced(n1",
            "=down",
            "n3>=down",
            "n 3=down",
            "alive=3",
            "n3!=down",
            "quorum &&",
            "alive{role=web",
            "alive{}>=1",
            "alive{=web}>=1",
            "alive{role=web}",
            "alive{role=web}>=x",
            "alive{role=web}=3",
            "healthy(db",
            "healthy()>=1",
            "healthy(d b)>=1",
            "healthy(db)",
            "healthy(db)>=x",
        ] {
            let refused = text.parse::<All>().expect_err(text);
            assert!(refused.contains("alive>=3"), "{text}: {refused}");
        }
    }

    #[test]
    fn conditions_print_as_they_are_written() {
        for text in [
            "alive>=3",
            "members<1",
            "down{role=web,rack}==0",
            "quorum",
            "joined",
            "n3=down",
            "healthy(db)>=2",
        ] {
            assert_eq!(text.parse::<Condition>().map(|c| c.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_lacking_is_told() {
        let now = |text: &str| text.parse::<Condition>().map(|c| c.now(&picture()));
        assert_eq!(now("alive>=3").as_deref(), Ok("2 alive"));
        assert_eq!(now("alive{role=web}>=3").as_deref(), Ok("1 alive{role=web}"));
        assert_eq!(now("n3=alive").as_deref(), Ok("n3 is down"));
        assert_eq!(now("n9=alive").as_deref(), Ok("n9 is unknown"));
        assert_eq!(now("healthy(db)>=3").as_deref(), Ok("2 healthy(db)"));
        assert_eq!(now("healthy(web)>=3").as_deref(), Ok("healthy(web) is unknown"));
        assert_eq!(now("quorum").as_deref(), Ok("quorum is unknown"));
    }
}
