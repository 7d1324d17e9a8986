//! Which members are shown: `status=down,suspect tag=role=web zone=east web`.

use std::str::FromStr;

use clap::ValueEnum as _;

use crate::api::tag::WantedTag;
use crate::cli::members::Status;
use crate::types::Member;

/// Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// As it was typed.
    text: String,
    /// Any of them.
    statuses: Vec<&'static str>,
    /// All of them.
    tags: Vec<WantedTag>,
    /// Any of them.
    zones: Vec<String>,
    /// Parts of what is shown, all of them, in small letters.
    words: Vec<String>,
}

impl Filter {
    /// As it was typed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it lets all through.
    pub(super) fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Whether a line is wanted that says `text`, about this member if about any.
    pub(super) fn takes(&self, text: &str, member: Option<&Member>) -> bool {
        let text = text.to_lowercase();
        self.words.iter().all(|word| text.contains(word)) && self.takes_member(member)
    }

    fn takes_member(&self, member: Option<&Member>) -> bool {
        if self.statuses.is_empty() && self.tags.is_empty() && self.zones.is_empty() {
            return true;
        }
        let Some(member) = member else { return false };
        let zone = member.zone.as_deref().unwrap_or_default();
        (self.statuses.is_empty() || self.statuses.contains(&member.status.as_str()))
            && (self.zones.is_empty() || self.zones.iter().any(|wanted| wanted == zone))
            && self.tags.iter().all(|wanted| wanted.is_in(&member.tags))
    }
}

impl FromStr for Filter {
    type Err = String;

    /// The words of `heartsay members`, as the API writes them, and parts of names.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut filter = Self { text: text.to_owned(), ..Self::default() };
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("status", statuses)) => {
                    for status in statuses.split(',') {
                        let status = Status::from_str(status, false)
                            .map_err(|_| format!("status {status:?} is not alive, suspect, down or left"))?;
                        filter.statuses.push(status.word());
                    }
                }
                Some(("tag", tag)) => filter.tags.push(tag.parse().map_err(|e| format!("tag {e}"))?),
                Some(("zone", zone)) => filter.zones.push(zone.to_owned()),
                Some((other, _)) => {
                    return Err(format!("{other:?} is not understood; known are status, tag and zone"));
                }
                None => filter.words.push(word.to_lowercase()),
            }
        }
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::super::invented::member;
    use super::*;

    #[test]
    fn statuses_and_zones_widen_and_tags_and_words_narrow() {
        let mut web = member("web-1", "suspect", "east");
        web.tags.insert("role".to_owned(), "web".to_owned());
        for (text, takes) in [
            ("", true),
            ("status=down,suspect", true),
            ("status=down status=suspect", true),
            ("status=down", false),
            ("tag=role", true),
            ("tag=role=web zone=east", true),
            ("tag=role=db", false),
            ("zone=west zone=east", true),
            ("zone=west", false),
            ("WEB", true),
            ("web -1 status=suspect", true),
            ("web -2", false),
        ] {
            assert_eq!(text.parse::<Filter>().unwrap().takes(&web.name, Some(&web)), takes, "{text}");
        }
        assert!("status=down".parse::<Filter>().is_ok_and(|filter| !filter.takes("no member", None)));
        for text in ["status=gone", "tag=", "colour=red"] {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
    }
}
