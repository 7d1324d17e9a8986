//! A member can be asked what only it knows: once, in time, and by members alone.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{
    Answer, Command, Config, Direction, Event, Input, Name, PathState, PathsTold, Question, Rejected, Status,
};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{
    self, HealthQuestion, Packet, PathHelper, PathRow, PathsAnswer, PathsQuestion, answer, question,
};
use heartsay_proto::{Budget, Cluster, Key, Keyring, decode_packet, open};
use heartsay_testkit::{Said, Start, World, config, packets};

fn ask(world: &mut World, by: &str, of: &str, question: Question) -> Result<(), Rejected> {
    world.command(by, Command::Ask { number: 1, member: Name::new(of).unwrap(), question })
}

fn health(service: &str) -> Question {
    Question::Health { service: service.to_owned(), id: String::new() }
}

/// What `by` has been answered: nothing, or once what, or that there was no answer.
fn answered(world: &World, by: &str) -> Vec<Option<Answer>> {
    let answered = world.events(by).iter().filter_map(|(_, event)| {
        let Event::Answered { answer, .. } = event else { return None };
        Some(answer.clone())
    });
    answered.collect()
}

/// The questions about services that have come to `at` for its program: number, who asks, and about what.
fn asked(world: &World, at: &str) -> Vec<(u64, String, String)> {
    let asked = world.events(at).iter().filter_map(|(_, event)| {
        let Event::Asked { number, by, service, .. } = event else { return None };
        Some((*number, by.to_string(), service.clone()))
    });
    asked.collect()
}

/// Asks, and waits for the end of it.
fn paths(world: &mut World, by: &str, of: &str) -> Option<PathsTold> {
    world.forget_events();
    ask(world, by, of, Question::Paths).unwrap();
    world.wait(6.0, |world| !answered(world, by).is_empty());
    match answered(world, by).as_slice() {
        [None] => None,
        [Some(Answer::Paths(told))] => Some(told.clone()),
        other => panic!("{other:?}"),
    }
}

fn read(datagram: &[u8]) -> Packet {
    let mut scratch = Vec::new();
    let (body, _) = open(datagram, &config().cluster, &Keyring::empty(), Budget::MAX, &mut scratch).unwrap();
    decode_packet(body).unwrap()
}

/// The questions and answers that have left, with their senders and lengths.
fn spoken(world: &mut World) -> Vec<(String, SocketAddr, Packet, usize)> {
    let said = std::mem::take(&mut world.journal).into_iter().filter_map(|(_, by, said)| {
        let Said::Datagram { to, bytes, .. } = said else { return None };
        let packet = read(&bytes);
        let wanted = matches!(packet.body, Some(Body::Question(_) | Body::Answer(_)));
        wanted.then_some((by, to, packet, bytes.len()))
    });
    said.collect()
}

fn telling(paths: PathsAnswer) -> Body {
    Body::Answer(gossip::Answer { topic: Some(answer::Topic::Paths(paths)) })
}

fn asking(topic: question::Topic) -> Body {
    Body::Question(gossip::Question { topic: Some(topic) })
}

fn row(subject: u64) -> PathRow {
    PathRow { subject, state: 1, direction: 1, ..PathRow::default() }
}

/// Asks n2 for its paths while what leaves n2 is lost, and returns what n1 has sent: the question that a forger answers.
fn open_question(world: &mut World) -> Packet {
    world.wire.cut.insert(("n2".to_owned(), "n1".to_owned()));
    world.forget_events();
    world.listening = true;
    ask(world, "n1", "n2", Question::Paths).unwrap();
    world.run(0.01);
    let sent = spoken(world);
    world.listening = false;
    sent.into_iter().find(|(by, ..)| by == "n1").unwrap().2
}

/// The tag of a member's datagrams.
fn tag(world: &mut World, name: &str) -> u64 {
    world.listening = true;
    world.journal.clear();
    world.run(2.0);
    world.listening = false;
    let said = std::mem::take(&mut world.journal);
    let tags = said.into_iter().filter_map(|(_, by, said)| match said {
        Said::Datagram { bytes, .. } if by == name => Some(read(&bytes).sender),
        Said::Datagram { .. } | Said::Event(_) => None,
    });
    tags.last().unwrap()
}

/// The name hashes of the members that `world` knows, as they stand in the claims of what is sent.
fn hash(world: &mut World, name: &str) -> u64 {
    world.listening = true;
    world.journal.clear();
    let count = world.names().count() + 1;
    world.start(&format!("n{count}"), &["n1"]);
    world.run(3.0);
    world.listening = false;
    let said = std::mem::take(&mut world.journal);
    let claims = said.into_iter().filter_map(|(.., said)| match said {
        Said::Datagram { bytes, .. } => Some(read(&bytes).claims),
        Said::Event(_) => None,
    });
    let is_its = |claim: &gossip::Claim| claim.body.as_ref().is_some_and(|body| body.name == name);
    claims.flatten().find(is_its).unwrap().subject
}

fn forge(world: &mut World, to: &str, from: SocketAddr, packet: &Packet) -> Result<(), Rejected> {
    let datagram = packets::datagram(packet, &config());
    world.hand(to, Input::Datagram { from, bytes: &datagram })
}

#[test]
fn a_third_member_learns_which_direction_between_two_others_fails() {
    let mut world = World::cluster(5);
    world.run(20.0);
    let whole = paths(&mut world, "n3", "n1").unwrap();
    assert_eq!(whole, PathsTold { well: 4, ..PathsTold::default() });
    world.wire.cut.insert(("n1".to_owned(), "n2".to_owned()));
    world.run(20.0);
    for (of, to, direction) in [("n1", "n2", Direction::Out), ("n2", "n1", Direction::In)] {
        let told = paths(&mut world, "n3", of).unwrap();
        assert_eq!((told.well, told.unknown, told.strange, told.cut), (3, 0, 0, false));
        let [path] = &told.paths[..] else { panic!("{told:?}") };
        assert_eq!((path.name.as_str(), path.state, path.direction), (to, PathState::Down, Some(direction)));
        let own = world.member(of, to).unwrap().path;
        assert_eq!(path.unanswered, own.unanswered);
        let names = |through: &[(Name, heartsay_membership::Instant)]| {
            through.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&path.through), names(&own.through));
        assert!(!path.through.is_empty());
        let apart = path.since.unwrap().since(own.since.unwrap());
        assert!(apart < Duration::from_millis(5), "{apart:?}");
    }
}

#[test]
fn nothing_is_sent_that_nobody_asked_for() {
    let mut world = World::cluster(5);
    world.listening = true;
    world.run(60.0);
    assert_eq!(spoken(&mut world).len(), 0);
    world.listening = true;
    ask(&mut world, "n3", "n1", Question::Paths).unwrap();
    world.run(60.0);
    let told: Vec<_> = spoken(&mut world).into_iter().map(|(by, ..)| by).collect();
    assert_eq!(told, ["n3", "n1"], "one question, one answer");
}

#[test]
fn the_health_of_a_service_is_told_by_the_program_of_its_host() {
    let mut world = World::cluster(3);
    world.forget_events();
    ask(&mut world, "n1", "n2", health("web")).unwrap();
    world.run(0.1);
    let (number, by, service) = asked(&world, "n2")[0].clone();
    assert_eq!((by.as_str(), service.as_str()), ("n1", "web"));
    assert_eq!(answered(&world, "n1"), [], "the program is still at it");
    let text = "check http: 503 \u{1b}[31mService Unavailable\n".to_owned() + &"x".repeat(2000);
    world.command("n2", Command::Answer { number, text: Some(text) }).unwrap();
    world.run(0.1);
    let [Some(Answer::Health(Some(told)))] = &answered(&world, "n1")[..] else { panic!() };
    assert!(told.starts_with("check http: 503 \u{fffd}[31mService Unavailable\u{fffd}xxx"), "{told}");
    assert_eq!(told.len(), 512);
    world.command("n2", Command::Answer { number, text: None }).unwrap();
    world.run(2.0);
    assert_eq!(answered(&world, "n1").len(), 1, "it is told once");
}

#[test]
fn an_instance_that_is_not_there_is_told_as_such() {
    let mut world = World::cluster(3);
    world.forget_events();
    ask(&mut world, "n1", "n2", health("web")).unwrap();
    world.run(0.1);
    let number = asked(&world, "n2")[0].0;
    world.command("n2", Command::Answer { number, text: None }).unwrap();
    world.run(0.1);
    assert_eq!(answered(&world, "n1"), [Some(Answer::Health(None))]);
}

#[test]
fn a_question_that_is_lost_once_is_asked_again() {
    let mut world = World::cluster(3);
    world.forget_events();
    world.wire.cut.insert(("n1".to_owned(), "n2".to_owned()));
    ask(&mut world, "n1", "n2", Question::Paths).unwrap();
    world.run(0.4);
    assert_eq!(answered(&world, "n1"), []);
    world.heal();
    world.run(0.2);
    assert!(matches!(answered(&world, "n1")[..], [Some(Answer::Paths(_))]));
}

#[test]
fn a_question_without_an_answer_ends_within_a_second_and_blames_nobody() {
    let mut world = World::cluster(3);
    world.run(10.0);
    world.forget_events();
    // As a member with earlier software: it hears the question, and does not know what it is.
    ask(&mut world, "n1", "n2", health("web")).unwrap();
    let before = world.node("n1").stats();
    world.run(0.9);
    assert_eq!(answered(&world, "n1"), []);
    world.run(0.2);
    assert_eq!(answered(&world, "n1"), [None]);
    let after = world.node("n1").stats();
    assert_eq!(after.probes_unanswered, before.probes_unanswered);
    assert_eq!(world.member("n1", "n2").unwrap().path.unanswered, 0);
    let other = |event: &Event| !matches!(event, Event::Asked { .. } | Event::Answered { .. });
    assert!(!world.events("n1").iter().any(|(_, event)| other(event)), "{:?}", world.events("n1"));
    let number = asked(&world, "n2")[0].0;
    world.command("n2", Command::Answer { number, text: Some("late".to_owned()) }).unwrap();
    world.run(1.0);
    assert_eq!(answered(&world, "n1"), [None], "too late");
}

#[test]
fn strangers_are_not_asked() {
    let mut world = World::cluster(3);
    for name in ["n9", "n1"] {
        let asked = ask(&mut world, "n1", name, Question::Paths);
        assert!(matches!(asked, Err(Rejected::UnknownMember(_))), "{name}: {asked:?}");
    }
    for service in ["", "two words", &"x".repeat(65)] {
        assert_eq!(ask(&mut world, "n1", "n2", health(service)), Err(Rejected::BadQuestion));
    }
    world.command("n3", Command::Leave).unwrap();
    world.run(2.0);
    assert!(matches!(ask(&mut world, "n1", "n3", Question::Paths), Err(Rejected::UnknownMember(_))));
}

#[test]
fn an_answer_counts_only_from_the_member_and_address_that_were_asked_and_with_their_number() {
    let mut world = World::cluster(3);
    let (n2, n3) = (tag(&mut world, "n2"), tag(&mut world, "n3"));
    let asked = open_question(&mut world);
    let lie = |sender, seq| Packet {
        sender,
        heartbeat: 1,
        seq,
        body: Some(telling(PathsAnswer { well: 99, ..PathsAnswer::default() })),
        ..Packet::default()
    };
    let (at2, at3) = (world.address("n2"), world.address("n3"));
    for (what, from, packet) in [
        ("another number", at2, lie(n2, asked.seq ^ 1)),
        ("no number", at2, lie(n2, 0)),
        ("another member", at3, lie(n3, asked.seq)),
        ("another member in its name", at3, lie(n2, asked.seq)),
        ("another member from its address", at2, lie(n3, asked.seq)),
        ("a stranger", at2, lie(99, asked.seq)),
    ] {
        let result = forge(&mut world, "n1", from, &packet);
        assert_eq!(result, Err(Rejected::Unexpected { what: "answer" }), "{what}");
        assert_eq!(answered(&world, "n1"), [], "{what}");
    }
    let mut other = lie(n2, asked.seq);
    other.body = Some(Body::Answer(gossip::Answer { topic: None }));
    assert_eq!(forge(&mut world, "n1", at2, &other), Err(Rejected::Unexpected { what: "answer" }));
    // Whoever can read the question can answer it: with a key that is a member alone.
    assert_eq!(forge(&mut world, "n1", at2, &lie(n2, asked.seq)), Ok(()));
    assert_eq!(answered(&world, "n1").len(), 1);
    let replayed = forge(&mut world, "n1", at2, &lie(n2, asked.seq));
    assert_eq!(replayed, Err(Rejected::Unexpected { what: "answer" }), "once");
    assert_eq!(answered(&world, "n1").len(), 1);
}

#[test]
fn a_liar_fills_nothing_with_its_answer_and_names_nobody_that_is_not_there() {
    let mut world = World::cluster(3);
    let n3 = hash(&mut world, "n3");
    let n2 = tag(&mut world, "n2");
    let from = world.address("n2");
    let answer = |world: &mut World, paths| {
        let asked = open_question(world);
        let packet = Packet {
            sender: n2,
            heartbeat: 1,
            seq: asked.seq,
            body: Some(telling(paths)),
            ..Packet::default()
        };
        forge(world, "n1", from, &packet).unwrap();
        match answered(world, "n1").pop() {
            Some(Some(Answer::Paths(told))) => Some(told),
            None => None,
            other => panic!("{other:?}"),
        }
    };
    // Members that nobody knows, itself, and kinds that there are not.
    let strange = PathRow {
        state: 77,
        direction: 99,
        since_ms: u32::MAX,
        unanswered: u32::MAX,
        through: (0..60).map(|helper| PathHelper { helper, ago_ms: u32::MAX }).collect(),
        ..row(n3)
    };
    let told = answer(&mut world, PathsAnswer { rows: vec![strange], ..PathsAnswer::default() }).unwrap();
    assert_eq!(told.paths.len(), 1);
    let path = &told.paths[0];
    assert_eq!((path.state, path.direction, path.through.len()), (PathState::Up, None, 0));
    let invented = (1..40).map(row).collect();
    let told = answer(&mut world, PathsAnswer { rows: invented, ..PathsAnswer::default() }).unwrap();
    assert_eq!((told.paths.len(), told.strange, told.cut), (0, 39, false));
    // The same again and again, and backwards.
    let same = vec![row(n3); 60];
    let told = answer(&mut world, PathsAnswer { rows: same, ..PathsAnswer::default() }).unwrap();
    assert_eq!((told.paths.len(), told.cut), (1, true));
    let back = PathsAnswer { rows: vec![row(n3)], next: n3, ..PathsAnswer::default() };
    assert!(answer(&mut world, back).unwrap().cut, "it would never end");
}

#[test]
fn a_liar_that_has_always_one_page_more_is_asked_no_further() {
    let mut world = World::cluster(3);
    let n2 = tag(&mut world, "n2");
    let from = world.address("n2");
    world.wire.cut.insert(("n2".to_owned(), "n1".to_owned()));
    world.forget_events();
    world.listening = true;
    ask(&mut world, "n1", "n2", Question::Paths).unwrap();
    world.run(0.01);
    let (mut pages, mut next) = (0, 1);
    while answered(&world, "n1").is_empty() {
        let sent = spoken(&mut world).into_iter().filter(|(by, ..)| by == "n1");
        let asked = sent.map(|(_, _, packet, _)| packet).last().unwrap();
        let rows: Vec<PathRow> = (next..next + 40).map(row).collect();
        next += 40;
        let packet = Packet {
            sender: n2,
            heartbeat: 1,
            seq: asked.seq,
            body: Some(telling(PathsAnswer { rows, next, ..PathsAnswer::default() })),
            ..Packet::default()
        };
        forge(&mut world, "n1", from, &packet).unwrap();
        pages += 1;
        assert!(pages <= 20, "10,000 rows would be 250 pages");
        world.run(0.01);
    }
    let Some(Some(Answer::Paths(told))) = answered(&world, "n1").pop() else { panic!() };
    assert!(told.cut && told.strange <= 256, "{told:?}");
}

#[test]
fn many_paths_come_in_pages_of_one_datagram_each() {
    for length in [Budget::DEFAULT, Budget::MIN] {
        let config = Config { datagram: Budget::new(length).unwrap(), ..config() };
        let mut world = World::new();
        let count = 48;
        for i in 1..=count {
            world.add(Start::new(&format!("n{i}")).seeds(&["n1"]).config(config.clone()));
        }
        world.run(120.0);
        // Nothing passes between n2 and the others, but for four of them: it lives, and its questions stay unanswered.
        for i in 6..=count {
            world.cut_between("n2", &format!("n{i}"));
        }
        world.run(60.0);
        world.listening = true;
        let told = paths(&mut world, "n3", "n2").unwrap();
        world.listening = false;
        assert!(!told.cut);
        let own: BTreeMap<String, (PathState, u32)> = world
            .node("n2")
            .view(world.now)
            .into_iter()
            .filter(|view| !view.is_self && matches!(view.status, Status::Alive | Status::Suspect))
            .map(|view| (view.name.to_string(), (view.path.state, view.path.unanswered)))
            .collect();
        let unwell = |(_, (state, unanswered)): &(&String, &(PathState, u32))| {
            *state == PathState::Down || *unanswered > 0
        };
        let shown = told.paths.iter().map(|path| (path.name.to_string(), (path.state, path.unanswered)));
        let shown: BTreeMap<String, (PathState, u32)> = shown.collect();
        assert_eq!(shown.len(), told.paths.len(), "each once");
        assert!(own.iter().filter(unwell).all(|(name, path)| shown.get(name) == Some(path)), "{own:?}");
        assert_eq!(shown.len() + usize::try_from(told.well + told.unknown).unwrap(), own.len());
        let sent = spoken(&mut world).into_iter().filter(|(by, ..)| by == "n2");
        let answers: Vec<usize> = sent.map(|(.., bytes)| bytes).collect();
        eprintln!("{} rows at {length} bytes: {answers:?}", told.paths.len());
        assert!(answers.len() > 1 && answers.iter().all(|bytes| *bytes <= length), "{answers:?}");
    }
}

#[test]
fn a_flood_of_questions_costs_a_member_no_more_than_its_budget() {
    let mut world = World::cluster(4);
    world.run(10.0);
    let tags: Vec<u64> = ["n1", "n3", "n4"].map(|name| tag(&mut world, name)).into();
    let addresses = ["n1", "n3", "n4"].map(|name| world.address(name));
    world.forget_events();
    world.listening = true;
    world.journal.clear();
    let topics = [
        question::Topic::Paths(PathsQuestion::default()),
        question::Topic::Health(HealthQuestion { service: "invented".to_owned(), id: String::new() }),
    ];
    let mut refused = 0;
    for turn in 0_u32..3000 {
        for (sender, from) in tags.iter().zip(addresses).take(if turn < 1500 { 1 } else { 3 }) {
            let body = Some(asking(topics[usize::try_from(turn % 2).unwrap()].clone()));
            let packet = Packet { sender: *sender, heartbeat: 1, seq: turn + 1, body, ..Packet::default() };
            let result = forge(&mut world, "n2", from, &packet);
            refused += usize::from(result == Err(Rejected::TooManyQuestions { from }));
        }
        world.run(0.002);
    }
    let answers = spoken(&mut world).into_iter().filter(|(by, ..)| by == "n2").count();
    let taken = answers + asked(&world, "n2").len();
    eprintln!("{taken} of 6000 questions in 6 s were taken, {answers} answered, {refused} refused");
    // One source: 16 at once and 4 each second; the others as much.
    assert!((60..=3 * (16 + 4 * 6)).contains(&taken), "{taken}");
    assert_eq!(refused, 1500 + 4500 - taken);
    assert_eq!(world.node("n2").stats().rejected["too-many-questions"], u64::try_from(refused).unwrap());
}

#[test]
fn all_sources_together_have_a_budget_too() {
    let mut world = World::cluster(24);
    world.run(60.0);
    let names: Vec<String> = world.others("n2");
    let mut packets = Vec::new();
    for name in &names {
        let sender = tag(&mut world, name);
        let body = Some(asking(question::Topic::Paths(PathsQuestion::default())));
        let packet = Packet { sender, heartbeat: 1, seq: 4711, body, ..Packet::default() };
        packets.push((world.address(name), packet));
    }
    let taken = (0..1000)
        .flat_map(|_| &packets)
        .filter(|(from, packet)| forge(&mut world, "n2", *from, packet).is_ok());
    assert_eq!(taken.count(), 80, "20 a second, four times that at once");
}

#[test]
fn a_source_that_has_not_proven_itself_gets_no_answer_but_a_short_question() {
    let mut world = World::cluster(3);
    world.run(5.0);
    let n3 = tag(&mut world, "n3");
    let victim = SocketAddr::from(([10, 0, 0, 99], 4099));
    let foreign = Config { cluster: Cluster::new("elsewhere").unwrap(), ..config() };
    world.add(Start::new("n99").at(victim).config(foreign));
    world.run(2.0);
    for sender in [n3, 99] {
        world.sent.clear();
        let mut asked = 0;
        for seq in 1..50 {
            let body = Some(asking(question::Topic::Paths(PathsQuestion::default())));
            let packet = Packet { sender, heartbeat: 1, seq, body, ..Packet::default() };
            asked += packets::datagram(&packet, &config()).len();
            let _ = forge(&mut world, "n2", victim, &packet);
        }
        world.run(3.0);
        let drawn: usize = world
            .sent
            .iter()
            .filter(|sent| sent.to == victim && sent.from != "n99")
            .map(|sent| sent.bytes)
            .sum();
        assert!(drawn <= 3 * asked, "{drawn} bytes for {asked}");
        let answers = world.sent.iter().filter(|sent| sent.to == victim && sent.bytes > 128).count();
        assert_eq!(answers, 0);
    }
}

/// The kinds of what `name` sends until it is answered.
fn until_answered(world: &mut World, name: &str, of: &str) -> Vec<&'static str> {
    world.forget_events();
    world.journal.clear();
    world.listening = true;
    ask(world, name, of, Question::Paths).unwrap();
    world.wait(0.1, |world| !answered(world, name).is_empty());
    world.listening = false;
    assert!(matches!(answered(world, name)[..], [Some(Answer::Paths(_))]));
    let said = std::mem::take(&mut world.journal).into_iter();
    let kinds = said.filter_map(|(_, by, said)| match said {
        Said::Datagram { bytes, receiver, .. } => match read(&bytes).body {
            Some(Body::Ping(_)) if by == name && receiver.as_deref() == Some(of) => Some("ping"),
            Some(Body::Ping(_)) if by == of && receiver.as_deref() == Some(name) => Some("ping back"),
            Some(Body::Question(_)) => Some("question"),
            Some(Body::Answer(_)) => Some("answer"),
            _ => None,
        },
        Said::Event(_) => None,
    });
    kinds.collect()
}

#[test]
fn addresses_are_proven_first_and_the_question_loses_no_time_by_it() {
    let mut world = World::cluster(3);
    world.readdress("n1", ([10, 0, 1, 1], 4001).into());
    let kinds = until_answered(&mut world, "n1", "n2");
    assert_eq!(kinds, ["question", "ping back", "answer"], "n2 has never heard from this address");
    world.run(60.0);
    world.start("n4", &["n1"]);
    world.wait(2.0, |world| world.member("n4", "n2").is_some());
    let kinds = until_answered(&mut world, "n4", "n2");
    assert_eq!(kinds.first(), Some(&"ping"), "n4 has only been told of this address: {kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "question").count(), 1);
}

#[test]
fn members_with_a_key_ask_each_other_too() {
    let key = Keyring::new(vec![Key::from_bytes([0x5A; 32])]);
    let config = Config { keyring: key, ..config() };
    let mut world = World::new();
    for name in ["n1", "n2", "n3"] {
        world.add(Start::new(name).seeds(&["n1"]).config(config.clone()));
    }
    world.run(5.0);
    assert_eq!(paths(&mut world, "n3", "n1").unwrap().well, 2);
}

#[test]
fn nobody_asks_without_end() {
    let mut world = World::cluster(3);
    let member = Name::new("n2").unwrap();
    let mut ask = |number| {
        world.command("n1", Command::Ask { number, member: member.clone(), question: Question::Paths })
    };
    assert_eq!(ask(1), Ok(()));
    assert_eq!(ask(1), Err(Rejected::AskingTooMuch), "the number is taken");
    let taken = (2..1000).filter(|number| ask(*number).is_ok()).count();
    assert_eq!(taken, 127, "so many are open at once");
    world.run(3.0);
    assert_eq!(answered(&world, "n1").len(), 128, "each has its end");
}
