//! `compare`: two results side by side.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use heartsay_simulator::run::{SCHEMA, Stored};
use serde_json::Value;

use super::{Outcome, table::number};

#[derive(clap::Args)]
pub(super) struct Compare {
    /// Result of `run -o json`
    before: PathBuf,
    /// Another
    after: PathBuf,
}

impl Compare {
    pub(super) fn go(self) -> anyhow::Result<Outcome> {
        let (before, after) = (read(&self.before)?, read(&self.after)?);
        if (&before.scenario, before.nodes) != (&after.scenario, after.nodes) {
            say!(
                "note: {} with {} members against {} with {}",
                before.scenario,
                before.nodes,
                after.scenario,
                after.nodes
            );
        }
        say!("{:<40}{:>12}{:>12}{:>10}", "", "before", "after", "change");
        let (a, b) = (serde_json::to_value(&before.summary)?, serde_json::to_value(&after.summary)?);
        let (mut left, mut right) = (Vec::new(), Vec::new());
        flatten("", &a, &mut left);
        flatten("", &b, &mut right);
        for ((key, a), (_, b)) in left.iter().zip(&right).filter(|((_, a), (_, b))| a != b) {
            let change = if *a == 0.0 { "new".to_owned() } else { format!("{:+.1}%", (b / a - 1.0) * 100.0) };
            say!("{key:<40}{:>12}{:>12}{change:>10}", number(*a), number(*b));
        }
        if left == right {
            say!("no difference");
        }
        Ok(Outcome::Well)
    }
}

pub(super) fn read(path: &Path) -> anyhow::Result<Stored> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let stored: Stored =
        serde_json::from_str(&text).with_context(|| format!("{shown} is no result of `run -o json`"))?;
    anyhow::ensure!(
        stored.schema == SCHEMA,
        "{shown} has layout {}, this program writes {SCHEMA}",
        stored.schema
    );
    Ok(stored)
}

fn flatten(key: &str, value: &Value, out: &mut Vec<(String, f64)>) {
    match value {
        Value::Object(map) => {
            for (inner, value) in map {
                let key = if key.is_empty() { inner.clone() } else { format!("{key}.{inner}") };
                flatten(&key, value, out);
            }
        }
        Value::Number(n) => out.push((key.to_owned(), n.as_f64().unwrap_or(0.0))),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {}
    }
}
