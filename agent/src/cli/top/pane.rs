//! The lists, the help, and the evidence on one member.

use jiff::Timestamp;
use ratatui_core::style::Style;
use ratatui_core::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use super::habits::SPANS;
use super::list::Pane;
use super::model::{Event, Instance, Model, Told};
use super::pen::{Column, Paint, Pen, rest, row, titles};
use super::problem::Problem;
use super::trouble::{Trouble, remarks};
use super::view::{Scene, ago, side_word, time_of_day};
use crate::cli::members::phi_text;
use crate::cli::output::{Output, brief, seconds_between};
use crate::cli::paths;
use crate::cli::service::address;
use crate::cli::table::wrap;
use crate::cli::why;
use crate::types::Member;

/// What a member's row can hold beside its mark, its name and its note.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fact {
    Zone,
    Phi,
    Line,
    Rtt,
    Falls,
    Since,
    Address,
    Tags,
}

/// The members, the worst first.
pub(super) fn members(scene: Scene<'_>, pen: &mut Pen<'_>) {
    let model = scene.model;
    let (facts, columns) = layout(scene, pen.width());
    pen.line(titles(&columns, pen.paint));
    let list = model.lists.of(Pane::Members);
    if list.order.is_empty() {
        pen.line(Span::styled("no member matches", pen.paint.dim()));
    }
    let is_cut = scene.once && list.order.len() > pen.room();
    let room = pen.room().saturating_sub(usize::from(is_cut));
    for (number, is_chosen) in list.visible(room) {
        let (Some(member), Some(trouble)) = (model.members().get(number), model.troubles.get(number)) else {
            continue;
        };
        let cells = member_row(scene, member, *trouble, &facts, pen.paint);
        choose(pen, row(&columns, cells.into_iter()), is_chosen && !scene.once);
    }
    if is_cut {
        let more = list.order.len().saturating_sub(room);
        pen.line(Span::styled(format!("and {more} more: heartsay members"), pen.paint.dim()));
    }
}

/// What fits into the width.
fn layout(scene: Scene<'_>, width: usize) -> (Vec<Fact>, Vec<Column>) {
    let members = scene.model.members();
    let widest = |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.width()).max().unwrap_or(0);
    let name = widest(&mut members.iter().map(|member| member.name.as_str())).clamp(4, (width / 5).max(10));
    let zone = widest(&mut members.iter().filter_map(|member| member.zone.as_deref())).min(width / 8);
    let has_line = members.iter().any(|member| scene.model.habits.line(&member.name, scene.now).is_some());
    let all = [
        (Fact::Zone, Column::left("ZONE", zone.max(4)), zone > 0 && width >= 60),
        (Fact::Phi, Column::right("PHI", 5), true),
        (Fact::Line, Column::left("LAST MINUTE", SPANS), has_line && width >= 80),
        (Fact::Rtt, Column::right("RTT", 8), width >= 60),
        (Fact::Falls, Column::right("F/R", 5), width >= 72),
        (Fact::Since, Column::right("FOR", 6), true),
        (Fact::Address, Column::left("ADDRESS", 21), width >= 120),
        (Fact::Tags, Column::left("TAGS", 28), width >= 170),
    ];
    let mut columns = vec![Column::left("", 2), Column::left("NAME", name)];
    let mut facts = Vec::new();
    for (fact, column, is_there) in all {
        if is_there {
            facts.push(fact);
            columns.push(column);
        }
    }
    columns.push(Column::left("NOTE, SERVICES", rest(&columns, width)));
    (facts, columns)
}

fn member_row(
    scene: Scene<'_>,
    member: &Member,
    trouble: Trouble,
    facts: &[Fact],
    paint: Paint,
) -> Vec<(String, Style)> {
    let Scene { model, now, .. } = scene;
    let style = paint.trouble(trouble);
    let plain = Style::new();
    let mut cells = vec![(mark(member, trouble), style), (member.name.clone(), style)];
    for fact in facts {
        cells.push(match fact {
            Fact::Zone => (member.zone.clone().unwrap_or_else(dash), plain),
            Fact::Phi => (phi_text(member, me(model)), plain),
            Fact::Line => (model.habits.line(&member.name, now).unwrap_or_default(), style),
            Fact::Rtt => {
                let rtt = model.path(&member.name).and_then(|path| path.rtt_ms);
                (rtt.map_or_else(dash, |ms| brief(ms / 1e3)), plain)
            }
            Fact::Falls => match model.habits.in_the_last_hour(&member.name, now) {
                (0, 0) => (dash(), paint.dim()),
                (fell, began) => (format!("{fell}/{began}"), plain),
            },
            Fact::Since => (seconds_between(&member.since, now).map_or_else(dash, ago), plain),
            Fact::Address => (member.address.clone(), plain),
            Fact::Tags => {
                let tags: Vec<String> =
                    member.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                (tags.join(","), plain)
            }
        });
    }
    cells.push(note(model, member, trouble, style, paint));
    cells
}

/// What is unusual; of a member that is well, what runs there.
fn note(model: &Model, member: &Member, trouble: Trouble, style: Style, paint: Paint) -> (String, Style) {
    let path = model.path(&member.name);
    let said = remarks(member, me(model), path, trouble, model.usual);
    let services = model.services.iter().filter(|one| one.told.member == member.name);
    let services: Vec<String> = services
        .map(|one| match one.told.health.as_str() {
            "passing" => one.full_name(),
            health => format!("{} {health}", one.full_name()),
        })
        .collect();
    let services = services.join(", ");
    match (said.is_empty(), services.is_empty()) {
        (true, _) => (services, paint.dim()),
        (false, true) => (said, if trouble == Trouble::Well { paint.dim() } else { style }),
        (false, false) => {
            (format!("{said}; {services}"), if trouble == Trouble::Well { paint.dim() } else { style })
        }
    }
}

/// `A`, `S`, `D`, `L`; `A!` for one that is alive and yet in trouble.
fn mark(member: &Member, trouble: Trouble) -> String {
    let letter = member.status.chars().next().unwrap_or('?').to_ascii_uppercase();
    if trouble.is_doubt() { format!("{letter}!") } else { letter.to_string() }
}

/// What runs where, the worst first.
pub(super) fn services(model: &Model, pen: &mut Pen<'_>) {
    let width = pen.width();
    let mut columns = vec![
        Column::left("SERVICE", (width / 5).max(10)),
        Column::left("HEALTH", 8),
        Column::left("MEMBER", (width / 5).max(10)),
        Column::right("HEALTHY", 9),
    ];
    columns.push(Column::left("ADDRESS, NOTE", rest(&columns, width)));
    pen.line(titles(&columns, pen.paint));
    let list = model.lists.of(Pane::Services);
    if list.order.is_empty() {
        pen.line(Span::styled("no service", pen.paint.dim()));
    }
    for (number, is_chosen) in list.visible(pen.room()) {
        let Some(one) = model.services.get(number) else { continue };
        let cells = service_row(one, pen.paint);
        choose(pen, row(&columns, cells.into_iter()), is_chosen);
    }
}

fn service_row(one: &Instance, paint: Paint) -> [(String, Style); 5] {
    let told = &one.told;
    let style = match (told.status.as_str(), told.health.as_str()) {
        ("alive", "passing") => paint.well(),
        ("alive", "warning") => paint.warning(),
        _ => paint.error(),
    };
    let is = if told.status == "alive" { String::new() } else { format!("its member is {}; ", told.status) };
    let text = told.text.as_ref().map_or_else(String::new, |text| format!(", {text}"));
    [
        (one.full_name(), Style::new()),
        (told.health.clone(), style),
        (told.member.clone(), paint.status(&told.status)),
        (format!("{} of {}", one.healthy, one.known), Style::new()),
        (format!("{is}{}{text}", address(told)), Style::new()),
    ]
}

/// What happened, the latest first.
pub(super) fn events(scene: Scene<'_>, pen: &mut Pen<'_>, is_list: bool) {
    let Scene { model, now, .. } = scene;
    let mut columns = vec![Column::left("TIME UTC", 8), Column::right("AGO", 6)];
    columns.push(Column::left("WHAT", rest(&columns, pen.width())));
    if !is_list {
        for event in model.events.iter().take(pen.room()) {
            let cells = event_row(event, now, pen.paint);
            pen.line(row(&columns, cells.into_iter()));
        }
        return;
    }
    pen.line(titles(&columns, pen.paint));
    let list = model.lists.of(Pane::Events);
    if list.order.is_empty() {
        pen.line(Span::styled("no event", pen.paint.dim()));
    }
    for (number, is_chosen) in list.visible(pen.room()) {
        let Some(event) = model.events.get(number) else { continue };
        let cells = event_row(event, now, pen.paint);
        choose(pen, row(&columns, cells.into_iter()), is_chosen);
    }
}

fn event_row(event: &Event, now: Timestamp, paint: Paint) -> [(String, Style); 3] {
    let style = match event.status.as_deref() {
        Some(status @ ("down" | "suspect")) => paint.status(status),
        _ => Style::new(),
    };
    [
        (time_of_day(&event.time).to_owned(), paint.dim()),
        (seconds_between(&event.time, now).map_or_else(dash, ago), paint.dim()),
        (event.what.clone(), style),
    ]
}

/// Who answers this agent directly, trouble first.
pub(super) fn paths(scene: Scene<'_>, pen: &mut Pen<'_>) {
    let model = scene.model;
    let width = pen.width();
    let mut columns = vec![
        Column::left("MEMBER", (width / 5).max(10)),
        Column::left("DIRECT", 7),
        Column::right("RTT", 8),
        Column::right("HEARD", 6),
        Column::right("FOR", 6),
    ];
    columns.push(Column::left("WHAT FAILS, WHO REACHES IT", rest(&columns, width)));
    pen.line(titles(&columns, pen.paint));
    let list = model.lists.of(Pane::Paths);
    if list.order.is_empty() {
        pen.line(Span::styled("no path", pen.paint.dim()));
    }
    for (number, is_chosen) in list.visible(pen.room()) {
        let Some(path) = model.paths.get(number) else { continue };
        let heard = path.last_direct_ms_ago.map(|ms| std::time::Duration::from_millis(ms).as_secs_f64());
        let style = pen.paint.status(&path.state);
        let cells = [
            (path.name.clone(), Style::new()),
            (path.state.clone(), style),
            (path.rtt_ms.map_or_else(dash, |ms| brief(ms / 1e3)), Style::new()),
            (heard.map_or_else(|| "never".to_owned(), ago), Style::new()),
            (
                path.since
                    .as_deref()
                    .and_then(|since| seconds_between(since, scene.now))
                    .map_or_else(dash, ago),
                Style::new(),
            ),
            (paths::note(path), Style::new()),
        ];
        choose(pen, row(&columns, cells.into_iter()), is_chosen);
    }
}

/// Everything that is wrong, in full.
pub(super) fn problems(scene: Scene<'_>, pen: &mut Pen<'_>) {
    let model = scene.model;
    let list = model.lists.of(Pane::Problems);
    if list.order.is_empty() {
        pen.line(Span::styled("nothing is wrong", pen.paint.well()));
    }
    let width = pen.width().saturating_sub(INDENT).max(10);
    let blocks: Vec<Vec<Line<'static>>> =
        model.problems.iter().map(|one| block(one, scene.now, width, pen.paint)).collect();
    // As many from above as leave the chosen one in sight.
    let height = |from: usize| -> usize { blocks.iter().take(list.at + 1).skip(from).map(Vec::len).sum() };
    let first = (0..=list.at).find(|from| height(*from) <= pen.room()).unwrap_or(list.at);
    for (number, block) in blocks.into_iter().enumerate().skip(first) {
        for (n, line) in block.into_iter().enumerate() {
            choose(pen, line, number == list.at && n == 0);
        }
    }
}

fn block(problem: &Problem, now: Timestamp, width: usize, paint: Paint) -> Vec<Line<'static>> {
    let [mut first, _] = self::problem(problem, now, paint);
    let mut lines = Vec::new();
    let said = first.spans.pop().map(|span| span.content.into_owned()).unwrap_or_default();
    let used = first.width().saturating_sub(INDENT);
    let mut said = wrap(&said, width.saturating_sub(used).max(10)).into_iter();
    first.push_span(Span::raw(said.next().unwrap_or_default()));
    lines.push(first);
    let rest: Vec<String> = said.collect();
    let indent = " ".repeat(INDENT);
    lines.extend(
        wrap(&rest.join(" "), width)
            .into_iter()
            .filter(|line| !line.is_empty())
            .map(|line| Line::raw(format!("{indent}{line}"))),
    );
    let remedy = wrap(&format!("do: {}", problem.remedy), width);
    lines.extend(remedy.into_iter().map(|line| Line::styled(format!("{indent}{line}"), paint.bold())));
    lines
}

/// What is wrong, and what to do.
pub(super) fn problem(problem: &Problem, now: Timestamp, paint: Paint) -> [Line<'static>; 2] {
    let age = problem.since.as_deref().and_then(|since| seconds_between(since, now));
    let age = age.map_or_else(String::new, |seconds| format!(" ({})", ago(seconds)));
    let style = paint.severity(&problem.severity);
    let code = match problem.code.as_str() {
        "" => problem.severity.clone(),
        code => code.to_owned(),
    };
    let what = Line::from(vec![
        Span::styled(side_word(problem.side), style),
        Span::styled(code, style),
        Span::raw("  "),
        Span::raw(format!("{}{age}", problem.what)),
    ]);
    [what, Line::raw(problem.remedy.clone())]
}

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
    let last = lines.len().saturating_sub(pen.room());
    for line in lines.into_iter().skip(scrolled.min(last)) {
        pen.line(line.to_owned());
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

/// Columns before what is wrong goes on.
const INDENT: usize = 6;

const HELP: &str = "\
A alive, S suspect, D down, L left; A! alive, and yet worth a look (NOTE says why)
US this host, THEM another, PATH between the two, ALL the settings of all
PHI         surprise at its silence: 3 is one in a thousand; from 5 on it is accused
LAST MINUTE the highest phi of each 5 s, the newest at the right
F/R         times it fell from alive, and began anew, in the last hour
FOR         how long it has been so

Tab, 1 to 5 another list       j k, arrows, PgUp PgDn, g G   move
Enter       why it is so       Esc   back, or show all again
/           filter: parts of names, status=down,suspect tag=role=web zone=east
s           sort members       r     ask the agent now       q   quit

Codes as in heartsay doctor, which looks at more and sends probes.
";
