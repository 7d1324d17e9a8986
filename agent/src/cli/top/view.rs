//! The whole screen: what is wrong first, then whom it befell, then what happened.

use jiff::Timestamp;
use ratatui_core::text::{Line, Span};

use super::fault::Side;
use super::list::Pane;
use super::model::{Contact, Model, Over};
use super::pane;
use super::pen::Pen;
use super::problem::Problem;
use crate::cli::output::{seconds_between, span};
use crate::cli::status::{has_electorate, hundredths};
use crate::cli::table::wrap;
use crate::types::{Quorum, STATUSES, SelfInfo};

/// What is drawn, and when.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) model: &'a Model,
    pub(super) now: Timestamp,
    /// On paper: without keys, and with room for all.
    pub(super) once: bool,
}

/// Draws all of it.
pub(super) fn draw(scene: Scene<'_>, pen: &mut Pen<'_>) {
    let Scene { model, now, .. } = scene;
    if !scene.once {
        footer(model, &mut pen.foot(1));
    }
    let Some(facts) = &model.facts else { return nothing_yet(scene, pen) };
    contact(scene, &facts.me, pen);
    let stale = matches!(model.contact, Contact::Away { .. });
    if let Contact::Away { findings, .. } = &model.contact {
        let found: Vec<Problem> = findings.iter().map(Problem::found).collect();
        problems(&found, now, 4, pen);
    }
    let below = pen.rest();
    counts(model, &facts.me, pen);
    verdict(scene, pen);
    match &model.over {
        Over::Help => pane::help(pen),
        Over::Case { name, told, scrolled } => pane::case(scene, name, told, *scrolled, pen),
        Over::Nothing | Over::Typing { .. } => lists(scene, pen),
    }
    if stale {
        pen.restyle(below, pen.paint.stale());
    }
}

fn nothing_yet(scene: Scene<'_>, pen: &mut Pen<'_>) {
    match &scene.model.contact {
        Contact::Away { why, findings, .. } => {
            let (error, width) = (pen.paint.error(), pen.width());
            for line in why.lines().flat_map(|line| wrap(line, width)) {
                pen.line(Span::styled(line, error));
            }
            let found: Vec<Problem> = findings.iter().map(Problem::found).collect();
            problems(&found, scene.now, pen.room(), pen);
            pen.line("");
            pen.line("It is asked again until it answers.");
        }
        Contact::Begun | Contact::Live(_) => pen.line("asking the agent …"),
    }
}

/// Which cluster, as which agent sees it, and whether that is still so.
fn contact(scene: Scene<'_>, me: &SelfInfo, pen: &mut Pen<'_>) {
    let Scene { model, now, .. } = scene;
    let (bold, dim) = (pen.paint.bold(), pen.paint.dim());
    if let Contact::Away { why, .. } = &model.contact {
        let age = model.last_heard().map_or(0, |at| now.as_second() - at.as_second());
        let first = why.lines().next().unwrap_or_default();
        let said = format!("NO ANSWER for {}: {first}; below is what it said last", ago(seconds(age)));
        let error = pen.paint.error();
        for line in wrap(&said, pen.width()).into_iter().take(2) {
            pen.line(Span::styled(line, error));
        }
    }
    let started = seconds_between(&me.started, now).map_or_else(String::new, ago);
    let left = vec![
        Span::styled(me.cluster.clone(), bold),
        Span::raw(" as "),
        Span::styled(me.member.name.clone(), bold),
        Span::raw(" sees it"),
        Span::styled(format!("  {}, up {started}", me.member.address), dim),
    ];
    pen.ends(Line::from(left), Span::styled(format!("{} UTC", time_of_day(&now.to_string())), dim));
}

/// How many there are of each status, and whether this side may act.
fn counts(model: &Model, me: &SelfInfo, pen: &mut Pen<'_>) {
    let paint = pen.paint;
    let mut spans = vec![Span::styled(format!("{} members: ", model.members().len()), paint.bold())];
    // Counted here: an event may be newer than the last look.
    let of = |status: &str| model.members().iter().filter(|member| member.status == status).count();
    let told = STATUSES.iter().map(|status| (status, of(status))).filter(|(_, number)| *number > 0);
    for (n, (status, number)) in told.enumerate() {
        let comma = if n == 0 { "" } else { ", " };
        spans.push(Span::raw(format!("{comma}{number} ")));
        spans.push(Span::styled((*status).to_owned(), paint.status(status)));
    }
    spans.push(Span::raw("   quorum "));
    if has_electorate(&me.quorum) {
        let Quorum { quorum, present, needed, zones, .. } = &me.quorum;
        spans.push(Span::styled(quorum.clone(), paint.status(quorum)));
        let what = if zones.is_empty() { "" } else { " zones" };
        spans.push(Span::raw(format!(": {present}{what} here, {needed} needed")));
    } else {
        spans.push(Span::styled("not used", paint.dim()));
    }
    let line = Line::from(spans);
    let news = me.news_delay.as_ref().map(|delay| format!("  news {}", hundredths(delay.median_seconds)));
    match news.filter(|news| line.width() + news.len() <= pen.width()) {
        Some(news) => pen.ends(line, Span::styled(news, paint.dim())),
        None => pen.line(line),
    }
}

/// Whose fault it is.
fn verdict(scene: Scene<'_>, pen: &mut Pen<'_>) {
    let Some(verdict) = &scene.model.verdict else { return };
    let paint = pen.paint;
    let mut witness = verdict.witness.as_deref();
    if verdict.clauses.is_empty() {
        let well = Span::styled("Nothing is wrong: ", paint.well());
        pen.line(Line::from(vec![well, Span::raw(witness.unwrap_or_default().to_owned())]));
        return;
    }
    let mut left = match pen.room() {
        _ if scene.once => 6,
        0..LOW => 1,
        LOW..TALL => 3,
        _ => 6,
    };
    let indent = " ".repeat(LABEL.len());
    for (n, (side, said)) in verdict.clauses.iter().enumerate() {
        let said = witness.take().map_or_else(|| said.clone(), |witness| format!("{said}; {witness}"));
        let lines = wrap(&said, pen.width().saturating_sub(LABEL.len() + SIDE).max(10));
        for (m, line) in lines.into_iter().take(left).enumerate() {
            let label = if n + m == 0 { LABEL.to_owned() } else { indent.clone() };
            let word = if m == 0 { side_word(*side) } else { " ".repeat(SIDE) };
            let word = Span::styled(word, paint.side(*side));
            pen.line(Line::from(vec![Span::styled(label, paint.bold()), word, Span::raw(line)]));
            left -= 1;
        }
    }
}

fn lists(scene: Scene<'_>, pen: &mut Pen<'_>) {
    let Scene { model, now, once } = scene;
    if model.pane != Pane::Problems && !model.problems.is_empty() {
        // On a screen they leave a third of it to the members, and take the place of the events.
        let most = if once { MOST_LINES } else { (pen.room().saturating_sub(6) * 2 / 3).max(1) };
        let room = pane::height(&model.problems, now, pen.width(), most);
        pen.rule(Line::styled(format!("problems {}", model.problems.len()), pen.paint.bold()));
        problems(&model.problems, now, room, pen);
    }
    let events = match (model.pane, once, pen.room()) {
        (Pane::Members, true, _) => model.events.len().min(5),
        (Pane::Members, false, 20..) => (pen.room() / 5).min(8),
        (Pane::Members, false, 12..) => 3,
        _ => 0,
    };
    if events > 0 && !model.events.is_empty() {
        let mut foot = pen.foot(events + 1);
        foot.rule(Line::styled("last events", foot.paint.bold()));
        pane::events(scene, &mut foot, false);
    }
    tabs(scene, pen);
    match model.pane {
        Pane::Members => pane::members(scene, pen),
        Pane::Services => pane::services(model, pen),
        Pane::Events => pane::events(scene, pen, true),
        Pane::Paths => pane::paths(scene, pen),
        Pane::Problems => pane::problems(scene, pen),
    }
}

/// One line for each. The room that is left goes to the whole of what they say, the worst first, and in the end it is said
/// how many more there are.
fn problems(all: &[Problem], now: Timestamp, room: usize, pen: &mut Pen<'_>) {
    // Of several, one line shows the worst and not their number, which stands above.
    let shown = if all.len() > room { room.saturating_sub(1).max(room.min(1)) } else { all.len() };
    let mut spare = room.saturating_sub(all.len());
    for problem in all.iter().take(shown) {
        let lines = pane::problem(problem, now, (pen.width(), spare + 1), pen.paint);
        spare = (spare + 1).saturating_sub(lines.len());
        lines.into_iter().for_each(|line| pen.line(line));
    }
    if shown < all.len() && room > 1 {
        pen.line(Span::styled(format!("      and {} more: press 5", all.len() - shown), pen.paint.bold()));
    }
}

/// Which list this is, and which others there are.
fn tabs(scene: Scene<'_>, pen: &mut Pen<'_>) {
    let Scene { model, once, .. } = scene;
    let paint = pen.paint;
    let mut spans = Vec::new();
    for (n, pane) in Pane::ALL.into_iter().enumerate() {
        let (shown, all) = (model.lists.of(pane).order.len(), model.number(pane));
        let some = if shown == all { all.to_string() } else { format!("{shown} of {all}") };
        if pane != model.pane {
            if !once {
                // Of the others, problems are worth their number also where there is little room.
                let some = if pen.width() >= ROOMY || pane == Pane::Problems {
                    format!(" {all}")
                } else {
                    String::new()
                };
                spans.push(Span::styled(format!("{} {}{some}", n + 1, pane.title()), paint.dim()));
                spans.push(Span::raw("  "));
            }
            continue;
        }
        let by = if pane == Pane::Members { format!(" by {}", model.sort.title()) } else { String::new() };
        let only = if once && !model.filter.is_empty() {
            format!(", only {}", model.filter.text())
        } else {
            String::new()
        };
        spans.push(Span::styled(format!("[{} {} {some}{by}{only}]", n + 1, pane.title()), paint.bold()));
        spans.push(Span::raw("  "));
    }
    // The rule goes on behind one blank.
    spans.pop();
    pen.rule(Line::from(spans));
}

fn footer(model: &Model, pen: &mut Pen<'_>) {
    let paint = pen.paint;
    let line = match &model.over {
        Over::Typing { text, error } => {
            let hint = match error {
                Some(why) => Span::styled(format!("   {why}"), paint.error()),
                None => Span::styled(
                    "   part of a name, status=down, tag=role=web, zone=east; Enter",
                    paint.dim(),
                ),
            };
            Line::from(vec![Span::styled("/", paint.bold()), Span::raw(format!("{text}▏")), hint])
        }
        Over::Help => Line::raw("Esc back"),
        Over::Case { .. } => Line::raw("Esc back  j k scroll  r ask now"),
        Over::Nothing if !model.filter.is_empty() => Line::from(vec![
            Span::styled(format!("only {}", model.filter.text()), paint.warning()),
            Span::raw("  Esc shows all  / filter  Tab next list  Enter why  ? help"),
        ]),
        Over::Nothing => Line::raw("q quit  Tab next list  j k move  Enter why  / filter  s sort  ? help"),
    };
    pen.line(line);
}

/// Whose, in the columns that it has.
pub(super) fn side_word(side: Side) -> String {
    format!("{:<SIDE$}", side.word())
}

/// Whole seconds, and from a minute on whole minutes: what is finer would be sent anew with each picture, for each line.
pub(super) fn ago(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{:.0}s", seconds.max(0.0).floor()),
        ..3600.0 => format!("{:.0}m", (seconds / 60.0).floor()),
        _ => span(seconds),
    }
}

/// `21:34:17` of an RFC 3339 stamp.
pub(super) fn time_of_day(stamp: &str) -> &str {
    stamp.get(11..19).unwrap_or(stamp)
}

fn seconds(whole: i64) -> f64 {
    u32::try_from(whole).map_or(0.0, f64::from)
}

/// In front of whose fault it is.
const LABEL: &str = "Fault  ";
/// Columns of `THEM  `.
const SIDE: usize = 6;
/// Columns in which each list can show its number.
const ROOMY: usize = 100;
/// Lines of a screen on which each cause has one line.
const LOW: usize = 12;
/// Lines of a screen on which the causes have room below one another.
const TALL: usize = 30;
/// Lines of problems above the lists, on paper.
pub(super) const MOST_LINES: usize = 60;
