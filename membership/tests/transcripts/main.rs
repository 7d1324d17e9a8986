//! Stories of the protocol, each a file in `transcripts`: commands behind `>`, and below each what came of it.
//!
//! ```text
//! UPDATE_TRANSCRIPTS=1 cargo test -p heartsay-membership --test transcripts     writes what comes of them today
//! ```
//!
//! The change of a file is then there to be read, as any other. `#` begins a comment. Times are seconds since the
//! beginning of the story. Where several members say the same after one command, they share a line:
//! `1.203..1.207 n1 n2`, the first and the last time. The commands:
//!
//! ```text
//! afresh                  a new world, in which nothing has happened yet
//! start NAME [seeds=N,N] [zone=Z] [expected=VOTES] [fence] [host=NUMBER] [as=KEY]
//!                         KEY: what this file calls it, when another one has its NAME
//! cluster COUNT TIME [options of start]   n1 to nCOUNT, n1 the seed of all; what they say in that time is not told
//! run TIME [datagrams]    TIME: 500ms, 2s, 3m; every datagram is listed too
//! cut A,B C,D             none between one side and the other; `cut A,B -> C,D`: none that way
//! refuse A -> B           a filter refuses what A sends to B
//! heal                    no cut and no filter any more
//! kill NAME               the process ends, its host refuses datagrams
//! vanish NAME             the host is gone without a trace
//! stop NAME, continue NAME        the process is not scheduled; datagrams wait for it
//! leave NAME              a good-bye; `restart NAME TIME`: back within that time; `forget NAME at NAME`
//! beat NAME on|off        whether the service beside it is well
//! move NAME to ADDRESS    its host has another address, and it is told so
//! set NAME KEY=VALUE ...  its own state; `KEY=` deletes
//! forge claim about NAME to NAME [left] [down] [heartbeat=+N] [life=+N]     a stranger tells it so
//! forge noise=BYTES to NAME [framed]      random bytes; framed: inside a frame that is right
//! replay NAME to NAME     a stranger sends the first datagram again that is listed above between the two
//! view NAME, quorum NAME, why NAME about NAME, traffic NAME     ask it
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod telling;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use heartsay_membership::{Command, Config, Electorate, Input, Instant, MemberView, Name, Rejected, Status};
use heartsay_proto::gossip::Claim;
use heartsay_testkit::{Fate, SEED, Said, Start, World, config, packets};
use telling::{kind, member, of_event, quorum, seconds, traffic, view, why};

#[test]
fn every_transcript_says_what_comes_of_its_commands() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(files.len() >= 10, "only {files:?}");
    let mut stale = String::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let written = std::fs::read_to_string(&file).unwrap();
        let today = played(name, &written);
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&file, today).unwrap();
        } else if today != written {
            stale += &format!("\n{name}:\n{}", difference(&written, &today));
        }
    }
    assert!(stale.is_empty(), "not what comes of them today (UPDATE_TRANSCRIPTS=1 writes it):\n{stale}");
}

#[test]
fn a_transcript_that_says_something_else_is_stale() {
    let told = played("x", "# Alone.\n> start n1\nnonsense\n\n# And so on.\n> run 1s\n> view n1\n");
    assert!(
        told.starts_with("# Alone.\n> start n1\n\n# And so on.\n> run 1s\n")
            && told.contains("\n  n1 alive ")
    );
    assert_eq!(played("x", &told), told);
    assert_eq!(difference("a\nb\nc\n", "a\nd\nc\n"), "    2 - b\n    2 + d\n");
}

/// The text with what comes of its commands today in place of what it says.
fn played(file: &str, text: &str) -> String {
    let mut stage = Stage { world: World::with_seed(SEED), told: 0 };
    let mut out = String::new();
    for (at, line) in (1..).zip(text.lines()) {
        if let Some(command) = line.strip_prefix("> ") {
            out += line;
            out.push('\n');
            let answer = stage.play(command).unwrap_or_else(|why| panic!("{file}:{at}: {line}: {why}"));
            for line in stage.happened().lines().chain(answer.lines()) {
                let _ = writeln!(out, "  {}", line.trim_end());
            }
        } else if line.is_empty() || line.starts_with('#') {
            out += line;
            out.push('\n');
        }
    }
    out
}

/// The first lines that differ, each with its number.
fn difference(written: &str, today: &str) -> String {
    let (written, today): (Vec<&str>, Vec<&str>) = (written.lines().collect(), today.lines().collect());
    let first = written.iter().zip(&today).take_while(|(a, b)| a == b).count();
    let last = written.iter().rev().zip(today.iter().rev()).take_while(|(a, b)| a == b).count();
    let last = last.min(written.len() - first).min(today.len() - first);
    let mut out = String::new();
    for (sign, lines) in
        [('-', &written[first..written.len() - last]), ('+', &today[first..today.len() - last])]
    {
        for (at, line) in (first + 1..).zip(lines).take(20) {
            let _ = writeln!(out, "{at:>5} {sign} {line}");
        }
    }
    out
}

struct Stage {
    world: World,
    /// Lines of the world's journal that have been told.
    told: usize,
}

/// The words of a command, taken one by one; options wherever they stand.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn next(&mut self, what: &str) -> Result<&'a str, String> {
        if self.0.is_empty() { Err(format!("{what} is missing")) } else { Ok(self.0.remove(0)) }
    }

    fn flag(&mut self, flag: &str) -> bool {
        let at = self.0.iter().position(|word| *word == flag);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// The value of `key=value`.
    fn value(&mut self, key: &str) -> Option<&'a str> {
        let of = |word: &&'a str| word.strip_prefix(key)?.strip_prefix('=');
        let at = self.0.iter().position(|word| of(word).is_some())?;
        of(&self.0.remove(at))
    }

    fn number(&mut self, key: &str) -> Result<u64, String> {
        let number = |text: &str| text.trim_start_matches('+').parse();
        self.value(key).map_or(Ok(0), number).map_err(|e| format!("{key}: {e}"))
    }
}

impl Stage {
    /// Does what one line says and returns the answer to a question.
    fn play(&mut self, line: &str) -> Result<String, String> {
        let mut words = Words(line.split_whitespace().collect());
        let answer = match words.next("a command")? {
            "afresh" => {
                (self.world, self.told) = (World::with_seed(SEED), 0);
                String::new()
            }
            "start" => self.start(&mut words)?,
            "cluster" => self.cluster(&mut words)?,
            "run" => self.run(&mut words)?,
            "cut" => self.each_way(&mut words, |world, pair| world.wire.cut.insert(pair))?,
            "refuse" => self.each_way(&mut words, |world, pair| world.wire.refused.insert(pair))?,
            "heal" => {
                self.world.heal();
                self.world.wire.refused.clear();
                String::new()
            }
            "set" => self.set(&mut words)?,
            "forge" => self.forge(&mut words)?,
            "replay" => self.replay(&mut words)?,
            verb => {
                let name = words.next("a name")?;
                if !self.world.has(name) {
                    return Err(format!("{name} does not run"));
                }
                self.of_one(verb, name, &mut words)?
            }
        };
        if words.0.is_empty() { Ok(answer) } else { Err(format!("what is {:?}?", words.0)) }
    }

    fn of_one(&mut self, verb: &str, name: &str, words: &mut Words<'_>) -> Result<String, String> {
        let world = &mut self.world;
        match verb {
            "kill" => world.kill(name),
            "vanish" => {
                world.vanish(name);
                world.stop(name);
            }
            "stop" => world.stop(name),
            "continue" => world.resume(name),
            "leave" => return Ok(outcome(world.command(name, Command::Leave))),
            "restart" => {
                let within = time(words.next("a time")?)?;
                return Ok(outcome(world.command(name, Command::Restart(within))));
            }
            "beat" => {
                let on = words.next("on or off")? == "on";
                return Ok(outcome(world.command(name, Command::Beat(on))));
            }
            "forget" => {
                words.flag("at");
                let by = words.next("a name")?;
                return Ok(outcome(world.command(by, Command::Forget(Name::new(name).unwrap()))));
            }
            "move" => {
                words.flag("to");
                let address = words.next("an address")?;
                world.readdress(name, address.parse().map_err(|e| format!("{address}: {e}"))?);
            }
            "view" => return Ok(view(world, name)),
            "quorum" => return Ok(quorum(world, name)),
            "why" => {
                words.flag("about");
                return why(world, name, words.next("a name")?);
            }
            "traffic" => return Ok(traffic(world, name)),
            _ => return Err("no such command".to_owned()),
        }
        Ok(String::new())
    }

    fn start(&mut self, words: &mut Words<'_>) -> Result<String, String> {
        let mut config = Config { fence: words.flag("fence"), ..config() };
        if let Some(votes) = words.value("expected") {
            config.electorate = Some(votes.parse::<Electorate>().map_err(|e| e.to_string())?);
        }
        let seeds: Vec<&str> = words.value("seeds").map_or(Vec::new(), |seeds| seeds.split(',').collect());
        let state = vec![("zone".into(), words.value("zone").unwrap_or("a").into())];
        let (key, host) = (words.value("as"), words.number("host")?);
        let name = words.next("a name")?;
        let index: u8 = name.trim_start_matches('n').parse().map_err(|_| "names are n1, n2, ...")?;
        let host = if host == 0 { u64::from(index) } else { host };
        // A second process of a name lives elsewhere.
        let net = u8::from(key.is_some());
        let address = format!("10.0.{net}.{index}:{}", 4000 + u16::from(index)).parse().unwrap();
        let start = Start::new(name).key(key.unwrap_or(name)).host(host.into()).at(address).seeds(&seeds);
        self.world.add(start.config(config).state(state));
        Ok(String::new())
    }

    fn cluster(&mut self, words: &mut Words<'_>) -> Result<String, String> {
        let count: usize = words.next("a count")?.parse().map_err(|_| "a count")?;
        let time = time(words.next("a time")?)?;
        let options = std::mem::take(&mut words.0);
        for i in 1..=count {
            let name = format!("n{i}");
            let mut words = Words(options.clone());
            words.0.extend([name.as_str(), "seeds=n1"]);
            self.start(&mut words)?;
        }
        self.world.run(time.as_secs_f64());
        self.told = self.world.journal.len();
        let all = (1..=count).all(|i| self.world.all_say(&format!("n{i}"), Status::Alive));
        if all && self.world.agree() {
            Ok(String::new())
        } else {
            Err("they do not see one another".to_owned())
        }
    }

    fn run(&mut self, words: &mut Words<'_>) -> Result<String, String> {
        self.world.listening = words.flag("datagrams");
        self.world.run(time(words.next("a time")?)?.as_secs_f64());
        self.world.listening = false;
        Ok(String::new())
    }

    /// Between all of the first word and all of the last: in both directions, or with an arrow in one.
    fn each_way(
        &mut self,
        words: &mut Words<'_>,
        act: impl Fn(&mut World, (String, String)) -> bool,
    ) -> Result<String, String> {
        let one_way = words.flag("->");
        let (here, there) = (words.next("who")?, words.next("and who")?);
        for a in here.split(',') {
            for b in there.split(',') {
                act(&mut self.world, (a.to_owned(), b.to_owned()));
                if !one_way {
                    act(&mut self.world, (b.to_owned(), a.to_owned()));
                }
            }
        }
        Ok(String::new())
    }

    fn set(&mut self, words: &mut Words<'_>) -> Result<String, String> {
        let name = words.next("a name")?;
        let mut changes = Vec::new();
        for word in words.0.drain(..) {
            let (key, value) = word.split_once('=').ok_or("KEY=VALUE")?;
            changes.push((key.to_owned(), (!value.is_empty()).then(|| value.into())));
        }
        Ok(outcome(self.world.command(name, Command::Set(changes))))
    }

    fn forge(&mut self, words: &mut Words<'_>) -> Result<String, String> {
        words.flag("to");
        let noise = words.number("noise")?;
        let bytes = if noise > 0 {
            // The same each time, and like nothing in particular.
            let byte = |at: u64| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56).to_le_bytes()[0];
            let noise: Vec<u8> = (1..=noise).map(byte).collect();
            if words.flag("framed") { packets::framed(&noise, &config()) } else { noise }
        } else {
            let (_claim, _about) = (words.flag("claim"), words.flag("about"));
            let subject = words.next("about whom")?;
            let by = words.0.first().ok_or("to whom")?;
            let known = member(&self.world, by, subject).ok_or("not known there")?;
            let (life, more) = (words.number("life")?, words.number("heartbeat")?);
            let claim = Claim {
                heartbeat: known.heartbeat + more,
                left: words.flag("left"),
                down: if words.flag("down") { known.heartbeat + 1 } else { 0 },
                ..claim(&known, life)
            };
            packets::datagram(&packets::telling(vec![claim]), &config())
        };
        let from = STRANGER.parse().unwrap();
        let result = self.world.hand(words.next("to whom")?, Input::Datagram { from, bytes: &bytes });
        Ok(if result.is_ok() { "taken".to_owned() } else { outcome(result) })
    }

    fn replay(&mut self, words: &mut Words<'_>) -> Result<String, String> {
        words.flag("to");
        let (from, to) = (words.next("a name")?, words.next("to whom")?);
        let old = self.world.journal.iter().find_map(|(_, sender, said)| match said {
            Said::Datagram { receiver, bytes, .. } => {
                (sender == from && receiver.as_deref() == Some(to)).then(|| bytes.clone())
            }
            Said::Event(_) => None,
        });
        let bytes = old.ok_or("no such datagram is listed")?;
        let result = self.world.hand(to, Input::Datagram { from: STRANGER.parse().unwrap(), bytes: &bytes });
        Ok(if result.is_ok() { "taken".to_owned() } else { outcome(result) })
    }

    /// What has come out since this was last asked.
    fn happened(&mut self) -> String {
        struct Line {
            first: Instant,
            last: Instant,
            who: Vec<String>,
            text: String,
        }
        let mut lines: Vec<Line> = Vec::new();
        for (at, who, said) in &self.world.journal[self.told..] {
            let text = match said {
                Said::Event(event) => of_event(event),
                Said::Datagram { to, receiver, bytes, fate } => {
                    let to = receiver.clone().unwrap_or_else(|| to.to_string());
                    let fate = match fate {
                        Fate::Arrives => "",
                        Fate::Lost => ", lost",
                        Fate::Refused => ", refused",
                    };
                    format!("-> {to}: {}, {} bytes{fate}", kind(bytes), bytes.len())
                }
            };
            let same = lines.iter_mut().find(|line| line.text == text && !line.who.contains(who));
            match same {
                Some(line) if matches!(said, Said::Event(_)) => {
                    line.last = *at;
                    line.who.push(who.clone());
                }
                _ => lines.push(Line { first: *at, last: *at, who: vec![who.clone()], text }),
            }
        }
        self.told = self.world.journal.len();
        let mut out = String::new();
        for line in lines {
            let (mut when, last) = (seconds(line.first), seconds(line.last));
            if last != when {
                when += &format!("..{last}");
            }
            let _ = writeln!(out, "{when:<14} {:<8} {}", line.who.join(" "), line.text);
        }
        out
    }
}

fn outcome(result: Result<(), Rejected>) -> String {
    result.err().map_or(String::new(), |why| format!("refused: {why}"))
}

fn time(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().map_err(|e| format!("{text}: {e}"))?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        _ => return Err(format!("{text}: 500ms, 2s, 3m")),
    };
    Ok(Duration::from_secs_f64(seconds))
}

/// About the life that is known, or one that began so many milliseconds later.
fn claim(known: &MemberView, later: u64) -> Claim {
    let generation = known.generation + later;
    Claim {
        generation,
        body: Some(packets::body(known.name.as_str(), known.host_id.0, known.address, generation)),
        ..Claim::default()
    }
}

/// A host that is no member.
const STRANGER: &str = "10.0.9.9:4999";
