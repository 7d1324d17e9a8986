//! The lists, the help, and the evidence on one member.

mod events;
mod members;
mod paths;
mod problems;
mod services;

use ratatui_core::text::{Line, Span};

use super::model::{Model, Told};
use super::pen::Pen;
use super::view::Scene;
use crate::cli::output::Output;
use crate::cli::why;

pub(super) use self::events::events;
pub(super) use self::members::members;
pub(super) use self::paths::paths;
pub(super) use self::problems::{height, problem, problems};
pub(super) use self::services::services;

/// The evidence on a member, as `why` tells it.
pub(super) fn case(scene: Scene<'_>, name: &str, told: &Told, scrolled: usize, pen: &mut Pen<'_>) {
    pen.rule(Line::styled(format!("why {name}"), pen.paint.bold()));
    let Some(facts) = &scene.model.facts else { return };
    let text = match told {
        Told::Asked => format!("asking the agent about {name} …"),
        Told::Gone => format!("no member is called {name} any more"),
        Told::Member(member) => why::case(member, &facts.me, &Output::plain(Some(pen.width()))),
    };
    let lines: Vec<&str> = text.lines().collect();
    let is_long = lines.len() > pen.room();
    let room = pen.room().saturating_sub(usize::from(is_long));
    let first = scrolled.min(lines.len().saturating_sub(room));
    for line in lines.iter().skip(first).take(room) {
        pen.line((*line).to_owned());
    }
    if is_long {
        let below = lines.len().saturating_sub(first + room);
        pen.line(Span::styled(format!("{first} lines above, {below} below: j k"), pen.paint.bold()));
    }
}

/// What the keys and the marks mean.
pub(super) fn help(pen: &mut Pen<'_>) {
    pen.rule(Line::styled("help", pen.paint.bold()));
    for line in HELP.lines() {
        pen.line(line);
    }
}

fn choose(pen: &mut Pen<'_>, line: Line<'static>, is_chosen: bool) {
    if is_chosen {
        let chosen = pen.paint.chosen();
        pen.line_on(line, chosen);
    } else {
        pen.line(line);
    }
}

fn me(model: &Model) -> &str {
    model.facts.as_ref().map_or("", |facts| &facts.me.member.name)
}

fn dash() -> String {
    "-".to_owned()
}

const HELP: &str = "\
A alive, S suspect, D down, L left; A! alive, and yet worth a look: see NOTE
US this host, THEM another, PATH between the two, ALL the settings of all
PHI          surprise at its silence: 3 is one in a thousand, 5 accuses
LAST MINUTE  the highest phi of each 5 s, the newest at the right
F/R          times it fell from alive, and began anew, in the last hour
FOR          how long it has been so
news         how long it took lately until this agent knew what others told
fenced       down, and the lease by which it could hold quorum has run out

Tab, 1 to 5  another list         j k, arrows, PgUp PgDn, g G  move
Enter        why it is so         Esc  back, or show all again
/            filter: parts of names, status=down,suspect tag=role=web zone=east
s            sort the members     r    ask the agent now
Ctrl-L       draw anew            q    quit

Codes as in heartsay doctor, which looks at more and sends probes.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_fits_a_small_terminal() {
        assert!(HELP.lines().all(|line| line.chars().count() < 80) && HELP.lines().count() < 20);
    }
}
