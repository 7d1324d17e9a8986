//! Which experiments there are: `simulator/experiments.toml`.

use serde::Deserialize;

use super::measured::Measure;

/// Experiments, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Experiments {
    /// Those of the table.
    pub(super) row: Vec<Row>,
    /// Those whose output is shown as it is.
    pub(super) text: Vec<Text>,
}

/// One line of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) name: String,
    /// What its line says.
    pub(super) measure: Measure,
    /// Most seeds that it is run with.
    seeds: u64,
    run: String,
    /// What the result is compared with.
    #[serde(default)]
    pub(super) beside: String,
}

/// Commands under one heading.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) run: Vec<String>,
}

impl Experiments {
    /// All of them.
    pub(super) fn shipped() -> anyhow::Result<Self> {
        Ok(toml::from_str(include_str!("../../../experiments.toml"))?)
    }

    /// Those of these names (of all, if none is given) without those that contain one of `skip`.
    pub(super) fn chosen(mut self, only: &[String], skip: &[String]) -> Self {
        let wanted = |name: &str| only.is_empty() || only.iter().any(|only| is_called(name, only));
        let spared = |words: &str| !skip.iter().any(|skip| words.contains(skip.as_str()));
        self.row.retain(|row| wanted(&row.name) && spared(&row.name) && spared(&row.run));
        self.text.retain(|text| wanted(&text.name) && spared(&text.name));
        self.text.iter_mut().for_each(|text| text.run.retain(|command| spared(command)));
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.row.is_empty() && self.text.is_empty()
    }
}

impl Row {
    /// The command, with at most `most` seeds.
    pub(super) fn command(&self, most: u64) -> String {
        format!("{} --seeds {}", self.run, self.seeds.min(most))
    }
}

/// Whether `name` is `short`, or that and more words: S1 is not S10.
fn is_called(name: &str, short: &str) -> bool {
    name.strip_prefix(short).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
}

#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "the other verbs choose no scenario")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Arguments, Verb};

    #[test]
    fn every_experiment_is_a_command_that_this_program_takes() {
        let all = Experiments::shipped().expect("sound");
        let rows = all.row.iter().map(|row| row.command(100));
        let commands: Vec<String> = rows.chain(all.text.iter().flat_map(|text| text.run.clone())).collect();
        assert!(commands.len() > 50);
        for command in commands {
            let words = ["heartsay-sim"].into_iter().chain(command.split_whitespace());
            let arguments =
                Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{command}: {error}"));
            let choice = match &arguments.verb {
                Verb::Run(run) => &run.choice,
                Verb::Sweep(sweep) => &sweep.choice,
                Verb::CompareDetectors(detectors) => &detectors.choice,
                _ => continue,
            };
            choice.load().unwrap_or_else(|error| panic!("{command}: {error}"));
        }
    }

    #[test]
    fn experiments_are_chosen_by_name_and_left_out_by_what_they_contain() {
        let names = |only: &[&str], skip: &[&str]| {
            let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let chosen = Experiments::shipped().expect("sound").chosen(&strings(only), &strings(skip));
            let rows = chosen.row.iter().map(|row| row.command(1));
            rows.chain(chosen.text.into_iter().map(|text| text.name)).collect::<Vec<_>>()
        };
        assert_eq!(names(&["S2"], &[]).len(), 2);
        assert!(
            names(&["S1"], &[]).iter().all(|command| command.contains("crash") || command.contains("rack"))
        );
        assert_eq!(names(&["S9"], &[]), ["S9: one link"]);
        assert_eq!(names(&["S6"], &["nodes 10000", "newcomer"]).len(), 2);
        assert!(names(&["S"], &[]).is_empty());
    }
}
