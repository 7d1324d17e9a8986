//! Pictures of invented clusters, as the person on call sees them.

use std::time::Duration;

use ratatui_core::backend::TestBackend;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::Color;
use ratatui_core::terminal::Terminal;

use super::facts::{Facts, News};
use super::invented::{at, cluster, facts, finding, line, member, members, path, seen, service};
use super::keys::{Effect, Key};
use super::list::Pane;
use super::model::Model;
use super::pen::{Paint, Pen};
use super::plain;
use super::view::{Scene, draw};
use crate::types::Finding;

/// The lines of the screen.
fn picture(model: &mut Model, width: u16, height: u16, second: i64) -> Vec<String> {
    model.settle();
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| {
            let scene = Scene { model, now: at(second), once: false };
            draw(scene, &mut Pen::new(frame.buffer_mut(), Paint { colour: true }));
        })
        .unwrap();
    let cells = terminal.backend().buffer().content().chunks(width.into());
    cells
        .map(|cells| cells.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned())
        .collect()
}

/// Of the line of a screen of 80 by 24.
fn colours(model: &mut Model, row: usize, second: i64) -> Vec<Color> {
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
    model.settle();
    draw(Scene { model, now: at(second), once: false }, &mut Pen::new(&mut buffer, Paint { colour: true }));
    (0..80).map(|x| buffer[(x, u16::try_from(row).unwrap())].fg).collect()
}

fn find<'a>(lines: &'a [String], part: &str) -> (usize, &'a str) {
    let found = lines.iter().enumerate().find(|(_, line)| line.contains(part));
    found
        .map(|(n, line)| (n, line.as_str()))
        .unwrap_or_else(|| panic!("{part:?} is not in\n{}", lines.join("\n")))
}

/// So many members of which three in zone b are down, one is suspect and one loses much.
fn troubled(number: usize) -> Facts {
    let mut all = members(number);
    for n in [1, 4, 7] {
        all[n - 1].zone = Some("a".to_owned());
    }
    for name in ["n2", "n5", "n8"].into_iter().take(number / 3) {
        all.iter_mut().filter(|member| member.name == name).for_each(|member| {
            member.status = "down".to_owned();
            member.zone = Some("b".to_owned());
        });
    }
    all[2].status = "suspect".to_owned();
    all[2].accusers = vec!["n1".to_owned(), "n4".to_owned()];
    all[3].degraded = true;
    facts(
        all,
        &[
            finding("member-down", "error", None, "members are down: n2, n5, n8"),
            finding("zone-of-one", "note", None, "zone x has one member"),
        ],
    )
}

#[test]
fn trouble_stands_above_the_members_and_the_worst_member_first_at_any_size() {
    for (number, width, height) in
        [(9, 80, 24), (128, 80, 24), (1000, 80, 24), (128, 200, 50), (1000, 200, 50)]
    {
        let mut model = seen(troubled(number));
        let lines = picture(&mut model, width, height, 12);
        assert!(lines[0].contains("shop as n1 sees it") && lines[0].ends_with("UTC"), "{lines:#?}");
        assert!(
            lines[1].starts_with(&format!("{number} members: ")) && lines[1].contains("3 down"),
            "{lines:#?}"
        );
        assert!(lines[1].contains("quorum held: 3 here, 3 needed"), "{lines:#?}");
        assert!(lines[2].starts_with("Fault  THEM  3 down"), "{lines:#?}");
        let (problem, text) = find(&lines, "member-down  members are down: n2, n5, n8 (12s)");
        assert!(text.starts_with("THEM") && problem < 6, "{lines:#?}");
        find(&lines, "mend it");
        let suspect = find(&lines, "n3 is suspect, accused by n1, n4").0;
        let titles = find(&lines, "NOTE, SERVICES").0;
        assert!(suspect < titles, "{lines:#?}");
        let marks: Vec<&str> = lines[titles + 1..titles + 7].iter().map(|line| &line[..5]).collect();
        assert_eq!(&marks[..5], ["D  n2", "D  n5", "D  n8", "S  n3", "A! n4"], "{lines:#?}");
        assert!(marks[5].starts_with("A  n"), "{lines:#?}");
        assert!(lines.last().unwrap().starts_with("q quit"), "{lines:#?}");
    }
}

#[test]
fn what_to_do_is_there_in_full_also_in_80_columns() {
    let mut down = finding("member-down", "error", Some("n2"), "n2 at 10.0.0.2:4327 is down: it fell silent");
    down.remedy = "look whether that host runs and can be reached (power, cable, packet filter), then at its agent; heartsay why n2 \
                   shows the evidence; if it is gone for good: heartsay forget n2"
        .to_owned();
    let two = |other: &Finding| {
        let mut all = members(9);
        all[1].status = "down".to_owned();
        let mut model = seen(facts(all, &[down.clone(), other.clone()]));
        for second in 0..9 {
            model.take(News::Line(Box::new(line("member-update", "n9", second))), at(9));
        }
        model
    };
    let other = finding("path-down", "error", Some("n3"), "nothing passes between this agent and n3");
    let mut model = two(&other);
    let said = |lines: &[String]| {
        let from = find(lines, "THEM  member-down").0;
        let text: Vec<&str> = lines[from..].iter().map(|line| line.trim()).collect();
        text.join(" ")
    };
    for text in [said(&picture(&mut model, 80, 24, 12)), plain::picture(&model, at(12), 80, false)] {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&format!("do: {}", down.remedy)), "{text}");
        assert!(text.contains("PATH path-down nothing passes") && text.contains("do: mend it"), "{text}");
    }
    let lines = picture(&mut model, 80, 24, 12);
    assert!(find(&lines, "D  n2").0 < 23 && find(&lines, "NOTE, SERVICES").0 < 20, "{lines:#?}");
    // What does not fit is seen to go on.
    let lines = picture(&mut model, 80, 16, 12);
    assert!(!lines.join(" ").contains("heartsay forget n2"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.ends_with('…')), "{lines:#?}");
}

#[test]
fn a_healthy_cluster_says_so_in_one_line() {
    let lines = picture(&mut cluster(5), 80, 24, 1);
    assert!(lines[1].ends_with("  news 0.05s"), "{lines:#?}");
    assert_eq!(lines[2], "Nothing is wrong: this agent is well; 3 of 3 peers share this view");
    assert!(lines[3].contains("[1 members 5 by trouble]"), "no list of problems: {lines:#?}");
    find(&lines, "this agent");
}

#[test]
fn whose_fault_it_is_is_said() {
    let verdict = |facts: Facts| {
        let mut model = seen(facts);
        picture(&mut model, 200, 50, 1)[2..5].join("\n")
    };
    let some_down = |number: usize| {
        let mut all = members(number);
        all.iter_mut()
            .filter(|member| member.zone.as_deref() == Some("b"))
            .for_each(|m| m.status = "down".to_owned());
        facts(all, &[])
    };
    assert!(
        verdict(some_down(9)).contains("THEM  3 down, the whole zone b (n1, n4, n7); this agent is well")
    );
    let mut isolated = some_down(9);
    isolated.me.isolated = true;
    let said = verdict(isolated);
    assert!(said.contains("US    isolated: most others look silent"), "{said}");
    assert!(!said.contains("THEM"), "{said}");
    let mut slow = some_down(9);
    slow.me.local_health = 6;
    let said = verdict(slow);
    assert!(
        said.contains("US    this host is slow itself") && !said.contains("this agent is well"),
        "{said}"
    );
    let between = facts(members(5), &[finding("path-down", "error", Some("n2"), "nothing passes to n2")]);
    assert!(verdict(between).contains("PATH  nothing passes to n2"));
    let all = facts(members(5), &[finding("expected-differs", "error", None, "expected differs")]);
    assert!(verdict(all).contains("ALL   expected differs"));
    let unknown = facts(members(5), &[finding("sun-eclipsed", "error", None, "it is dark")]);
    assert!(verdict(unknown).contains("ALL   it is dark"), "a code that is too new is shown");
    let notes = facts(members(5), &[finding("zone-of-one", "note", None, "zone x")]);
    assert!(verdict(notes).starts_with("Nothing is wrong"));
}

#[test]
fn nothing_that_others_say_reaches_the_terminal_as_a_command() {
    let hostile = "\u{1b}[2J\u{202e}evil\u{7}";
    let mut answer =
        serde_json::to_value(facts(vec![member(hostile, "down", hostile)], &[]).members).unwrap();
    answer[0]["tags"]["role"] = hostile.into();
    let all = crate::cli::output::fit_to_show(&answer).unwrap();
    let mut model = seen(facts(all, &[finding("member-down", "error", None, "x")]));
    for pane in Pane::ALL {
        model.pane = pane;
        for shown in picture(&mut model, 200, 50, 1) {
            assert!(shown.chars().all(crate::escape::shows), "{shown:?}");
        }
    }
    model.pane = Pane::Members;
    find(&picture(&mut model, 200, 50, 1), "\\u{1b}[2J\\u{202e}evil");
}

#[test]
fn no_size_and_no_pane_makes_it_stumble() {
    let mut model = seen(troubled(128));
    model.take(News::Services(vec![service("web", "n4", "critical")]), at(1));
    for second in 0..300 {
        model.take(News::Line(Box::new(line("member-suspect", "東京都-\u{308}x", second))), at(2));
    }
    for (width, height) in [(40, 10), (20, 5), (1, 1), (3, 40), (300, 3), (80, 24)] {
        for pane in Pane::ALL {
            model.pane = pane;
            picture(&mut model, width, height, 3);
            for key in
                [Key::Char('?'), Key::Escape, Key::Char('/'), Key::Escape, Key::Enter, Key::Escape, Key::End]
            {
                model.press(key, 10);
                picture(&mut model, width, height, 3);
            }
        }
    }
    model.pane = Pane::Members;
    model.press(Key::Home, 10);
    let lines = picture(&mut model, 40, 10, 3);
    assert!(lines[0].starts_with("shop as n1") && lines[2].contains("THEM  3 down"), "{lines:#?}");
    assert!(find(&lines, "THEM  member-down").0 < find(&lines, "D  n").0, "{lines:#?}");
}

#[test]
fn a_filter_leaves_the_members_that_it_wants_and_says_so() {
    let mut model = seen(troubled(128));
    model.filter = "status=suspect,down zone=b".parse().unwrap();
    model.reorder();
    let lines = picture(&mut model, 80, 24, 1);
    find(&lines, "[1 members 3 of 128 by trouble]");
    assert!(lines[23].starts_with("only status=suspect,down zone=b  Esc shows all"), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("D  ")).count(), 3, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("A ")), "{lines:#?}");
}

#[test]
fn a_member_is_opened_and_the_evidence_is_told() {
    let mut model = seen(troubled(9));
    assert!(matches!(model.press(Key::Enter, 10), Effect::Ask(_)));
    find(&picture(&mut model, 80, 24, 1), "asking the agent about n2");
    let other = News::Case("n9".to_owned(), None);
    model.take(other, at(1));
    find(&picture(&mut model, 80, 24, 1), "asking the agent about n2");
    let told = Box::new(member("n2", "down", "b"));
    model.take(News::Case("n2".to_owned(), Some(told)), at(1));
    let lines = picture(&mut model, 80, 24, 1);
    find(&lines, "── why n2 ──");
    find(&lines, "n2 is down");
    find(&lines, "Them or us? Probably them");
    model.take(News::Case("n2".to_owned(), None), at(1));
    find(&picture(&mut model, 80, 24, 1), "no member is called n2 any more");
    model.press(Key::Escape, 10);
    find(&picture(&mut model, 80, 24, 1), "NOTE, SERVICES");
}

#[test]
fn an_agent_that_is_away_is_told_from_one_that_answers() {
    let mut model = Model::default();
    find(&picture(&mut model, 80, 24, 0), "asking the agent");
    let away = || News::Away {
        why: "no agent at /x: the socket does not exist\nmore".to_owned(),
        findings: vec![finding("unit-not-running", "error", None, "the unit does not run")],
    };
    model.take(away(), at(0));
    let lines = picture(&mut model, 80, 24, 0);
    find(&lines, "no agent at /x");
    find(&lines, "unit-not-running  the unit does not run");
    find(&lines, "asked again");
    let mut model = seen(troubled(9));
    let (row, _) = find(&picture(&mut model, 80, 24, 20), "D  n2");
    assert!(colours(&mut model, row, 20).contains(&Color::Red), "its own colours at first");
    model.take(away(), at(20));
    let lines = picture(&mut model, 80, 24, 31);
    assert!(lines[0].starts_with("NO ANSWER for 30s: no agent at /x"), "{lines:#?}");
    find(&lines, "unit-not-running");
    let (row, _) = find(&lines, "D  n2");
    assert!(colours(&mut model, row, 31).iter().all(|colour| *colour == Color::Reset), "what is old is grey");
    model.take(News::Facts(Box::new(facts(members(9), &[]))), at(40));
    assert!(picture(&mut model, 80, 24, 40)[0].starts_with("shop as n1"));
}

#[test]
fn an_event_shows_at_once_and_an_old_one_changes_no_member() {
    let mut model = cluster(5);
    let mut old = line("member-down", "n3", 0);
    old.index = 0;
    model.take(News::Line(Box::new(old)), at(1));
    assert_eq!(model.member("n3").unwrap().0.status, "alive");
    model.take(News::Line(Box::new(line("member-down", "n3", 5))), at(5));
    let lines = picture(&mut model, 80, 24, 7);
    assert!(lines.iter().any(|line| line.starts_with("D  n3")), "{lines:#?}");
    assert!(find(&lines, "08:00:05").1.contains("2s n3 down"), "{lines:#?}");
    assert!(lines[2].contains("THEM  n3 down"), "{lines:#?}");
    model.take(News::Line(Box::new(line("idle", "n3", 6))), at(6));
    assert_eq!(model.events.len(), 2);
    assert!(lines[1].contains("4 alive, 1 down"), "{lines:#?}");
}

#[test]
fn other_panes_show_trouble_first_too() {
    let mut model = cluster(5);
    model.take(News::Services(vec![service("db", "n2", "passing"), service("web", "n3", "critical")]), at(1));
    model.take(News::Paths(vec![path("n2", "up"), path("n4", "down")]), at(1));
    let lines = picture(&mut model, 100, 24, 1);
    find(&lines, "web on n3 is critical");
    assert!(
        lines[2].contains("THEM") && find(&lines, "A! n4").1.contains("not reachable from here"),
        "{lines:#?}"
    );
    model.pane = Pane::Services;
    let lines = picture(&mut model, 100, 24, 1);
    assert!(find(&lines, "critical n3").0 < find(&lines, "passing  n2").0, "{lines:#?}");
    model.pane = Pane::Paths;
    let lines = picture(&mut model, 100, 24, 1);
    assert!(find(&lines, "n4").0 < find(&lines, "n2").0, "{lines:#?}");
    find(&lines, "nothing arrives either way");
    assert_eq!(model.chosen_member().as_deref(), Some("n4"));
}

#[test]
fn paths_of_others_that_are_not_well_stand_among_ours() {
    let mut model = cluster(5);
    model.take(News::Paths(vec![path("n2", "up"), path("n4", "up")]), at(1));
    let told =
        |rows| Some(crate::types::Paths { from: Some("n3".to_owned()), paths: rows, ..Default::default() });
    model.take(News::Told("n3".to_owned(), told(vec![path("n4", "down"), path("n2", "up")])), at(1));
    model.take(News::Told("n2".to_owned(), None), at(1));
    model.pane = Pane::Paths;
    let lines = picture(&mut model, 80, 24, 1);
    find(&lines, "n2 did not answer");
    let (row, line) = find(&lines, "n3         n4");
    assert!(line.contains("down") && row < find(&lines, "n1         n2").0, "{lines:#?}");
    assert_eq!(model.chosen_member().as_deref(), Some("n4"));
    assert_eq!(model.number(Pane::Paths), 3, "n3 reaches n2, and that is no news");
    model.take(News::Told("n3".to_owned(), told(Vec::new())), at(12));
    model.take(News::Told("n2".to_owned(), told(Vec::new())), at(12));
    let lines = picture(&mut model, 80, 24, 12);
    assert_eq!(model.number(Pane::Paths), 2);
    assert!(!lines.iter().any(|line| line.contains("did not answer")), "{lines:#?}");
}

#[test]
fn the_reader_stays_with_a_member_that_moves_and_at_the_top_with_the_worst() {
    let mut model = cluster(5);
    model.press(Key::Down, 10);
    model.press(Key::Down, 10);
    assert_eq!(model.chosen_member().as_deref(), Some("n3"));
    let mut worse = members(5);
    worse[4].status = "down".to_owned();
    model.take(News::Facts(Box::new(facts(worse, &[]))), at(2));
    model.settle();
    assert_eq!((model.chosen_member().as_deref(), model.lists.of(Pane::Members).at), (Some("n3"), 3));
    model.press(Key::Home, 10);
    assert_eq!(model.chosen_member().as_deref(), Some("n5"));
}

#[test]
fn one_picture_on_paper_is_plain_and_has_all_that_is_wrong() {
    let mut model = seen(troubled(1000));
    for second in 0..9 {
        model.take(News::Line(Box::new(line("member-update", "n9", second))), at(9));
    }
    model.settle();
    let text = plain::picture(&model, at(9), 80, false);
    let rows = text.lines().filter(|line| ["A ", "A!", "S ", "D "].iter().any(|mark| line.starts_with(mark)));
    assert!(rows.count() >= 20 && text.contains("zone x has one member"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("n9 update")).count(), 5, "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(
        text.contains("THEM") && text.contains("D  n8") && text.contains(" more: heartsay members"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80 && line.trim_end() == line), "{text}");
    assert!(plain::picture(&seen(troubled(9)), at(1), 80, true).contains("\u{1b}[1m\u{1b}[31mTHEM"));
}

#[test]
fn a_thousand_members_are_drawn_in_no_time() {
    let mut model = seen(troubled(1000));
    let began = tokio::time::Instant::now();
    for second in 0..20 {
        model.take(News::Facts(Box::new(troubled(1000))), at(second));
        picture(&mut model, 200, 50, second);
    }
    // A debug build on a busy machine: a twentieth of this is usual.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
