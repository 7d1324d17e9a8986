//! The members.

use ratatui_core::style::Style;
use ratatui_core::text::Span;
use unicode_width::UnicodeWidthStr as _;

use super::{choose, dash, me};
use crate::cli::members::phi_text;
use crate::cli::output::{brief, seconds_between};
use crate::cli::top::habits::SPANS;
use crate::cli::top::list::Pane;
use crate::cli::top::model::Model;
use crate::cli::top::pen::{Column, Paint, Pen, rest, row, shortened, titles};
use crate::cli::top::trouble::{Trouble, remarks};
use crate::cli::top::view::{Scene, ago};
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
pub(in crate::cli::top) fn members(scene: Scene<'_>, pen: &mut Pen<'_>) {
    let model = scene.model;
    let (facts, columns) = layout(scene, pen.width());
    pen.line(titles(&columns, pen.paint));
    let name = columns.get(1).map_or(0, |column| column.width);
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
        let cells = member_row(scene, member, *trouble, &facts, name, pen.paint);
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
    name: usize,
    paint: Paint,
) -> Vec<(String, Style)> {
    let Scene { model, now, .. } = scene;
    let style = paint.trouble(trouble);
    let plain = Style::new();
    let mut cells = vec![(mark(member, trouble), style), (shortened(&member.name, name), style)];
    for fact in facts {
        cells.push(match fact {
            Fact::Zone => (member.zone.clone().unwrap_or_else(dash), plain),
            Fact::Phi => (phi_text(member, me(model)), plain),
            Fact::Line => (model.habits.line(&member.name, now).unwrap_or_default(), style),
            Fact::Rtt => {
                // Of one that is down it would be that of better days.
                let path =
                    model.path(&member.name).filter(|_| !matches!(trouble, Trouble::Down | Trouble::Left));
                let rtt = path.and_then(|path| path.rtt_ms);
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
