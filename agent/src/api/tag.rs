//! `role=web` or `role`: which tag a member must have. One grammar for the API's filters, for flags and for conditions.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A tag that is wanted, with any value or with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedTag {
    key: String,
    value: Option<String>,
}

impl WantedTag {
    /// Whether these tags have it.
    pub(crate) fn is_in(&self, tags: &BTreeMap<String, String>) -> bool {
        tags.get(&self.key).is_some_and(|value| self.value.as_ref().is_none_or(|wanted| wanted == value))
    }
}

impl FromStr for WantedTag {
    type Err = String;

    /// The value may be empty and may hold further `=`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        if key.is_empty() {
            return Err(format!("{text:?} is not of the form KEY or KEY=VALUE"));
        }
        Ok(Self { key: key.to_owned(), value })
    }
}

impl fmt::Display for WantedTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_alone_wants_any_value_and_an_equals_sign_wants_that_one() {
        let tags =
            BTreeMap::from([("role".to_owned(), "a=b".to_owned()), ("empty".to_owned(), String::new())]);
        for (text, has) in [
            ("role", true),
            ("role=a=b", true),
            ("role=a", false),
            ("role=", false),
            ("empty=", true),
            ("empty", true),
            ("rack", false),
        ] {
            let wanted: WantedTag = text.parse().unwrap();
            assert_eq!(wanted.is_in(&tags), has, "{text}");
            assert_eq!(wanted.to_string(), text);
        }
        assert!("=web".parse::<WantedTag>().is_err() && "".parse::<WantedTag>().is_err());
    }
}
