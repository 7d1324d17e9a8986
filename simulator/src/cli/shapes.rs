//! `shapes`: cuts of many shapes, and what each side says of quorum.

use anyhow::{anyhow, ensure};
use heartsay_simulator::shapes::{Outcome as Row, Range, Shape, shapes};

use super::{Outcome, Output, run::bar};

/// Cut clusters into sides of many shapes and time what each side says of quorum
///
/// Prints the table of docs/quorum-proofs.md, section 4. All members vote. The cut begins 30 s after the start and lasts 30 s; times
/// are in seconds after the cut, or after the heal, as the least and the most over all seeds.
///
/// Exit code 1: a rule was broken, or a member was called down more than a second after the heal.
///
/// The last shape has 1,000 members and takes minutes; `--most 128` leaves it out.
#[derive(clap::Args)]
pub(super) struct Shapes {
    /// Only shapes whose name contains this, as in "half" or "hub"
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only clusters of up to so many members
    #[arg(long, value_name = "NODES")]
    most: Option<usize>,
    /// How many seeds, from 1 on, of each shape of up to 100 members; larger ones have one
    #[arg(long, short, default_value_t = 20)]
    seeds: u64,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Shapes {
    pub(super) fn go(self) -> anyhow::Result<Outcome> {
        let chosen: Vec<Shape> = shapes().into_iter().filter(|shape| self.wants(shape)).collect();
        ensure!(!chosen.is_empty(), "no such shape; without --only and --most all are run");
        if self.output == Output::Table {
            say!("{HEAD}");
        }
        let mut rows = Vec::new();
        for shape in chosen {
            let row = self.run(&shape)?;
            if self.output == Output::Table {
                say!("{}", line(&row));
            }
            rows.push(row);
        }
        if self.output == Output::Json {
            say!(
                "{}",
                serde_json::to_string_pretty(&serde_json::json!({ "schema": SCHEMA, "shapes": rows }))?
            );
        }
        Ok(if rows.iter().all(Row::sound) { Outcome::Well } else { Outcome::Broken })
    }

    fn wants(&self, shape: &Shape) -> bool {
        self.only.as_ref().is_none_or(|only| shape.name.contains(only.as_str()))
            && self.most.is_none_or(|most| shape.nodes <= most)
    }

    fn run(&self, shape: &Shape) -> anyhow::Result<Row> {
        let seeds: Vec<u64> = (1..=if shape.nodes > LARGE { 1 } else { self.seeds.max(1) }).collect();
        let length = shape.scenario()?.duration.0.as_secs() * seeds.len() as u64;
        let bar = bar(&format!("{}, {} members", shape.name, shape.nodes), length)?;
        let row = shape.run(&seeds, &|| bar.inc(1)).map_err(|error| anyhow!(error));
        bar.finish_and_clear();
        row
    }
}

fn line(row: &Row) -> String {
    let range = |range: Option<Range>, none: &str| {
        range.map_or_else(|| none.to_owned(), |range| format!("{:.2} to {:.2}", range.min, range.max))
    };
    let majority = if row.majority == 0 {
        "no such side".to_owned()
    } else {
        format!("{} of {}", row.majority_lost, row.majority)
    };
    format!(
        "| {} | {} | {} | {} | {majority} | {} | {} | {} | {} |",
        row.shape,
        row.nodes,
        row.seeds,
        range(row.lost, "never"),
        range(row.first_down, "none"),
        range(row.held_again, "never"),
        row.late_downs,
        row.violations
    )
}

const HEAD: &str = "| shape | members | seeds | without a majority: `lost` | with one: ever `lost` | first `down` by one that holds | held again after the heal | called down after it | violations |
|---|---|---|---|---|---|---|---|---|";
/// Layout of the JSON.
const SCHEMA: &str = "heartsay-sim-shapes/1";
/// Beyond so many members one seed is enough.
const LARGE: usize = 100;
